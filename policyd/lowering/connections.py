"""Pass: `tcp` services. Rules to them speak of connections, callers find them at ports that nothing else wants.

What is said of requests means nothing there, and what is said of connections means nothing to other services.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.compiler.connections import of_application, of_sidecar, wanted
from policyd.intents import Document
from policyd.intents.access_rule import AccessRule, Connections
from policyd.intents.canary_split import CanarySplit
from policyd.intents.service import Service as ServiceIntent
from policyd.lowering.memo import LoweringMemo
from policyd.lowering.services import short
from policyd.lowering.suggestions import Suggestions
from policyd.lowering.work import Work
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.scope import Scope
from policyd.model.service import Protocol, Service


def connections(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings; changes no value."""
    found: list[Finding] = []
    taking = {name for name, service in work.services.items() if service.protocol is Protocol.TCP}
    for document in work.of_kind("Service"):
        found += _local_ports(work, document)
        if document.name in taking:
            found += _of_service(document)
    for document in work.of_kind("CanarySplit") if taking else ():
        spec = cast("CanarySplit", document.intent).spec
        if spec.first is not None and Name.parse(spec.service, document.name.namespace) in taking:
            found.append(_nothing(document, "a connection brings no header", "spec", "first"))
    if taking and work.settings is not None:
        found += _clashes(work, work.settings)
    return work.with_findings(found)


def of_rule(document: Document, service: Service) -> Iterator[Finding]:
    """What a rule says that the service that it opens has none of: requests, or connections."""
    spec = cast("AccessRule", document.intent).spec
    for number, permit in enumerate(spec.allow):
        of_connections = isinstance(permit, Connections)
        if service.protocol is Protocol.TCP and not of_connections:
            yield document.finding(
                "PD1210",
                f"`{service.name.name}` speaks `tcp`, which has no methods and paths",
                *("spec", "allow", number),
                hint="write `{connections: true}`",
            )
        elif service.protocol is not Protocol.TCP and of_connections:
            yield document.finding(
                "PD1293",
                f"`{service.name.name}` speaks `{service.protocol.value}`: it takes requests, not connections",
                *("spec", "allow", number, "connections"),
                hint='say which: `{methods: [GET], paths: [/v1/orders]}`; all are `{methods: ["*"], paths: [/**]}`',
            )
    if service.protocol is Protocol.TCP and spec.jwt is not None:
        yield document.finding(
            "PD1210",
            f"`{service.name.name}` speaks `tcp`, and a connection brings no token",
            *("spec", "jwt"),
            at_key=True,
            hint="name who may connect in `from`",
        )


def _local_ports(work: Work, document: Document) -> Iterator[Finding]:
    namespace = document.name.namespace
    others = Suggestions(lambda: (short(each, namespace) for each in work.services))
    for text in cast("ServiceIntent", document.intent).spec.local_ports:
        name = Name.parse(text, namespace)
        service = work.services.get(name)
        if service is None and not work.may_exist(name):
            where = ("spec", "localPorts", text)
            yield document.finding(
                "PD1203", f"there is no service `{text}`", *where, at_key=True, hint=others.of(text)
            )
        elif service is not None and service.protocol is not Protocol.TCP:
            yield document.finding(
                "PD1294",
                f"`{text}` speaks `{service.protocol.value}`: it is called by its name, at the sidecar's one port",
                *("spec", "localPorts", text),
                at_key=True,
                hint="only a `tcp` service has a port of its own at its callers",
            )


def _of_service(document: Document) -> Iterator[Finding]:
    spec = cast("ServiceIntent", document.intent).spec
    if spec.upgrades:
        yield _nothing(document, "a connection carries whatever it likes", "spec", "upgrades")
    if spec.opaque_paths:
        yield _nothing(document, "a connection has no path", "spec", "opaquePaths")
    if spec.slo is not None and spec.slo.latency:
        yield _nothing(document, "a connection has no answer whose time could be taken", "spec", "slo", "latency")
    timeout, retries = spec.resilience.timeout, spec.resilience.retries
    for field, key in (("request", "request"), ("per_try", "perTry")):
        if field in timeout.model_fields_set:
            where = ("spec", "resilience", "timeout", key)
            yield _nothing(document, "only requests are bounded by it", *where, severity=Severity.WARNING)
    if retries is not None and "methods" in retries.model_fields_set:
        where = ("spec", "resilience", "retries", "methods")
        yield _nothing(document, "a connection has no method", *where, severity=Severity.WARNING)


def _nothing(document: Document, why: str, *path: str, severity: Severity = Severity.ERROR) -> Finding:
    return document.finding(
        "PD1296",
        f"`{path[-1]}` means nothing to a `tcp` service: {why}",
        *path,
        at_key=True,
        hint="take it away, or use protocol http, http2 or grpc",
        severity=severity,
    )


def _clashes(work: Work, settings: Settings) -> Iterator[Finding]:
    """Of each caller, in order: destinations that want a port of its loopback where something listens already."""
    scope = Scope.of(Mesh(settings, work.services, work.access))
    for document in work.of_kind("Service"):
        caller = work.services[document.name]
        destinations = [work.services[name] for name in scope.destinations(document.name)]
        used: dict[int, str] = {}
        for name, port in wanted(caller, destinations).items():
            said = short(name, document.name.namespace)
            holder = used.setdefault(port, f"`{said}`")
            if holder == f"`{said}`":
                holder = _holder(settings, caller, port)
            if holder:
                yield document.finding(
                    "PD1295",
                    f"`{document.name.name}` finds `{said}` at port {port} of its loopback, and {holder} is there",
                    *_where(document, name),
                    hint=f"give it another one here: `localPorts: {{{said}: {_other(port)}}}`",
                )


def _holder(settings: Settings, caller: Service, port: int) -> str:
    """What of the caller itself listens at that port of its loopback, if anything."""
    endpoints = [each for version in caller.versions for each in version.endpoints]
    if any(port in of_application(each) for each in endpoints):
        return "its own application"
    listens = any(port in of_sidecar(each, settings.outbound_port, (settings.inbound_port,)) for each in endpoints)
    return "its sidecar" if listens else ""


def _where(document: Document, name: Name) -> tuple[str, ...]:
    for text in cast("ServiceIntent", document.intent).spec.local_ports:
        if Name.parse(text, document.name.namespace) == name:
            return ("spec", "localPorts", text)
    return ("metadata", "name")


def _other(port: int) -> int:
    return port + 10_000 if port < 50_000 else port - 10_000
