"""Losses that every compiler has, because they come from what a mesh is and not from what a proxy can do.

A compiler adds its own. Each loss has a code, a paragraph in the compiler's README and a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from policyd.base.diagnostics import Severity
from policyd.compiler.artifact import Loss
from policyd.compiler.conditions import WORDS, conditions
from policyd.compiler.memo import Memo
from policyd.compiler.sources import Sources
from policyd.model.access import ANY_METHOD, Access, Mode, Rule
from policyd.model.mesh import Mesh, Settings
from policyd.model.methods import CONNECTION, is_canonical_method
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.paths import EVERYTHING
from policyd.model.provenance import Key
from policyd.model.scope import Scope
from policyd.model.service import Protocol, Service

ACCEPTABLE = frozenset({"PD1308"})
"""Losses that a rule may accept by name, until a date: it stays left out, and that is a warning."""
OfService = Callable[[Service], tuple[Loss, ...]]
"""What a proxy cannot say of one service, in the sidecars that serve it and in those that call it."""
OfSettings = Callable[[Settings], tuple[Loss, ...]]
"""What a proxy cannot say of the settings of the mesh, in every sidecar."""


def nothing_of_settings(settings: Settings) -> tuple[Loss, ...]:
    """The proxy can say all of them."""
    return ()


@dataclass(frozen=True, slots=True)
class Says:
    """What one proxy can say: its name, the conditions of rules that it judges, and what it lacks for a service."""

    proxy: str
    conditions: frozenset[str]
    lost_of_service: OfService
    lost_of_settings: OfSettings = nothing_of_settings


@dataclass(frozen=True, slots=True)
class _Lost:
    """What is lost of one service: in its own sidecars, and wherever it is compiled."""

    of_access: tuple[Loss, ...]
    of_service: tuple[Loss, ...]


def of_mesh(mesh: Mesh, says: Says, memo: Memo) -> tuple[Loss, ...]:
    """What all nodes of the mesh lose together, each loss once; asked of each service that `memo` does not know."""
    served = {node.service for node in nodes(mesh)}
    found: dict[Loss, None] = {}
    called: set[Name] | None = None
    for name, service in mesh.services.items():
        lost = _remembered(service, mesh.access.get(name) or Access(name), says, memo)
        if name in served:
            found |= dict.fromkeys((*lost.of_access, *lost.of_service))
        elif lost.of_service:
            called = called if called is not None else _called(mesh, served)
            found |= dict.fromkeys(lost.of_service if name in called else ())
    return tuple(found)


def _remembered(service: Service, access: Access, says: Says, memo: Memo) -> _Lost:
    return memo.get(
        ("lost", says.proxy, service.digest, access.digest),
        lambda: _Lost(of_access(service, access, says), says.lost_of_service(service)),
    )


def _called(mesh: Mesh, served: Iterable[Name]) -> set[Name]:
    """Whom some sidecar may call."""
    scope = Scope.of(mesh)
    return {destination for name in served for destination in scope.destinations(name)}


def of_sidecars(sources: Sources, says: Says) -> tuple[Loss, ...]:
    """What a service's sidecars lose: of its own rules, of itself, and of whom it calls."""
    lost = says.lost_of_settings(sources.settings)
    lost += of_access(sources.service, sources.access, says)
    for each in (sources.service, *sources.scope):
        lost += says.lost_of_service(each)
    return tuple(dict.fromkeys(lost))


def of_access(service: Service, access: Access, says: Says) -> tuple[Loss, ...]:
    """What is lost of the access rules to `service`, in its own sidecars."""
    return tuple(
        loss for rule in access.rules for loss in (*_not_understood(service, rule, says), *_of_rule(service, rule))
    )


def of_protocol(service: Service) -> tuple[Loss, ...]:
    """A service that speaks plain TCP, for sidecars that carry requests alone."""
    if service.protocol is not Protocol.TCP:
        return ()
    return (
        Loss(
            "PD1301",
            Severity.ERROR,
            Key("Service", service.name),
            f"`{service.name}` speaks tcp, which these sidecars do not carry: nobody reaches it",
            hint="use the compiler `envoy`, or protocol http, http2 or grpc",
        ),
    )


def of_retry_condition(service: Service, word: str, proxy: str, known: str) -> Loss:
    """A condition in `retries.on` that `proxy` has no word for; the others hold."""
    return Loss(
        "PD1302",
        Severity.WARNING,
        Key("Service", service.name),
        f"`{service.name}` retries on `{word}`, which {proxy} does not know: it is left out",
        hint=f"known conditions: {known}",
    )


def _not_understood(service: Service, rule: Rule, says: Says) -> Iterator[Loss]:
    """A condition that the proxy cannot judge: the whole rule is left out, so that nothing is wider than it says."""
    for condition in sorted(conditions(rule) - says.conditions):
        enforced = rule.mode is Mode.ENFORCE
        effect = "allows nothing" if enforced else "is not observed"
        yield Loss(
            "PD1308",
            Severity.ERROR if enforced else Severity.WARNING,
            Key("AccessRule", rule.name),
            f"`{rule.name}` asks for {WORDS.get(condition, condition)}, which {says.proxy} cannot judge: "
            f"the rule {effect} in the sidecars of `{service.name}`",
            hint="serve it behind a data plane that can, write the rule without that condition, or accept that it is "
            "left out: `# policyd: allow PD1308 until 2027-01-31 because ...`",
        )


def _of_rule(service: Service, rule: Rule) -> Iterator[Loss]:
    key = Key("AccessRule", rule.name)
    methods = sorted({method for permit in rule.permits for method in permit.methods})
    for method in methods:
        if method not in (ANY_METHOD, CONNECTION) and not is_canonical_method(method):
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
