"""What the mesh says and Envoy, or this compiler, cannot: each loss has a code, a paragraph in the README, a test."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.base.diagnostics import Severity
from policyd.compiler.artifact import Loss
from policyd.model.access import ANY_METHOD, Access, Rule
from policyd.model.methods import is_canonical_method
from policyd.model.paths import EVERYTHING
from policyd.model.provenance import Key
from policyd.model.service import Protocol, Service
from policyd_compilers.envoy.retries import CONDITIONS, is_status


def of_service(service: Service) -> tuple[Loss, ...]:
    """What is lost of a service, wherever it is compiled."""
    return tuple(_of_service(service))


def of_access(service: Service, access: Access) -> tuple[Loss, ...]:
    """What is lost of the access rules to `service`, in its own sidecars."""
    return tuple(loss for rule in access.rules for loss in _of_rule(service, rule))


def _of_service(service: Service) -> Iterator[Loss]:
    key = Key("Service", service.name)
    if service.protocol is Protocol.TCP:
        yield Loss(
            "PD1301",
            Severity.ERROR,
            key,
            f"`{service.name}` speaks tcp, which sidecars do not carry yet: nobody reaches it",
            hint="use protocol http, http2 or grpc",
        )
    for word in service.resilience.retries.on:
        if word not in CONDITIONS and not is_status(word):
            yield Loss(
                "PD1302",
                Severity.WARNING,
                key,
                f"`{service.name}` retries on `{word}`, which envoy does not know: it is left out",
                hint="known conditions: " + ", ".join(sorted(CONDITIONS)) + ", or a status code",
            )


def _of_rule(service: Service, rule: Rule) -> Iterator[Loss]:
    key = Key("AccessRule", rule.name)
    methods = sorted({method for permit in rule.permits for method in permit.methods})
    for method in methods:
        if method != ANY_METHOD and not is_canonical_method(method):
            yield Loss(
                "PD1303",
                Severity.ERROR,
                key,
                f"`{rule.name}` allows the method `{method}`, which is never canonical: it is refused with 400",
            )
    if service.opaque_paths and any(path != EVERYTHING for permit in rule.permits for path in permit.paths):
        yield Loss(
            "PD1304",
            Severity.ERROR,
            key,
            f"`{rule.name}` has path rules, but `{service.name}` has opaque paths: they allow nothing",
            hint="a service with `opaquePaths: true` can only be opened with `paths: [/**]`",
        )
