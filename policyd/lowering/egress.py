"""Pass: each `Egress` becomes a destination like a service, with no instance in the mesh.

It stands among the services, so that rules, decisions, explanations and releases treat it alike. What only a service
has (instances, versions, a sidecar that judges) is refused here where something asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.access_rule import AccessRule
from policyd.intents.canary_split import CanarySplit
from policyd.intents.egress import Egress
from policyd.intents.route import Route
from policyd.intents.service import Service as ServiceIntent
from policyd.lowering import grpc, resilience
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.services import short
from policyd.lowering.work import Work, said_by
from policyd.model.external import SYSTEM, VERSION, External
from policyd.model.names import Name, dns_name
from policyd.model.service import Protocol, Service, Split, Version


def egress(work: Work, memo: LoweringMemo) -> Work:
    """Add them to `services`; each has a name and a host of its own."""
    documents = work.of_kind("Egress")
    if not documents:
        return work
    pieces = memo.pieces("Egress", documents, _external)
    made = {piece.value.name: piece.value for piece in pieces}
    found = [*_taken(work, documents), *_shared(work, documents)]
    together = sorted((*work.services.values(), *made.values()), key=attrgetter("name"))
    done = replace(work, services={service.name: service for service in together})
    return done.with_pieces(memo, "Egress", pieces).with_findings(found)


def egress_checks(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about intents that treat an external host as a service with instances; changes no value."""
    outside = {name for name, service in work.services.items() if service.external is not None}
    if not outside:
        return work
    return work.with_findings([*_rules(work, outside), *_referring(work, outside)])


def _external(document: Document) -> Piece[Service]:
    spec = cast("Egress", document.intent).spec
    roots = "" if spec.plaintext else spec.tls.roots if spec.tls is not None else SYSTEM
    service = Service(
        name=document.name,
        protocol=Protocol(spec.protocol),
        port=spec.port,
        versions=(Version(VERSION),),
        split=Split.all_to(VERSION),
        resilience=grpc.judged(Protocol(spec.protocol), resilience.lowered(spec.resilience)),
        external=External(spec.host, roots, tuple(sorted(set(spec.addresses)))),
    )
    retries = ("spec", "resilience", "retries")
    found = (
        *resilience.problems(document),
        *grpc.problems(document, spec.protocol, spec.resilience.retries, retries),
    )
    return Piece(service, said_by(document, "Service"), found)


def _taken(work: Work, documents: tuple[Document, ...]) -> Iterator[Finding]:
    homes = {document.name: document for document in work.of_kind("Service")}
    for document in documents:
        if (home := homes.get(document.name)) is not None:
            yield document.finding(
                "PD1280",
                f"`{document.name.name}` is already a service, in {home.locate('metadata', 'name')}",
                *("metadata", "name"),
                hint="rules name services and external hosts alike, so they share their names",
            )


def _shared(work: Work, documents: tuple[Document, ...]) -> Iterator[Finding]:
    first: dict[str, Document] = {}
    domain = work.settings.trust_domain if work.settings is not None else ""
    inside = {f"{name.name}.{name.namespace}": name for name in work.services}
    for document in documents:
        host = cast("Egress", document.intent).spec.host
        other = first.setdefault(host, document)
        if other is not document:
            yield document.finding(
                "PD1280",
                f"`{host}` is already the host of `{other.name.name}`, in {other.locate('spec', 'host')}",
                *("spec", "host"),
                hint="a sidecar knows by the host which rules a request falls under",
            )
        elif host in inside or (domain and (host == domain or host.endswith(f".{domain}"))):
            meant = dns_name(domain, inside[host]) if host in inside else f"the trust domain `{domain}`"
            yield document.finding(
                "PD1280",
                f"`{host}` is not outside of the mesh",
                *("spec", "host"),
                hint=f"it belongs to {meant}",
            )


def _rules(work: Work, outside: set[Name]) -> Iterator[Finding]:
    for document, piece in zip(work.of_kind("AccessRule"), work.rules, strict=True):
        aimed, spec = piece.value, cast("AccessRule", document.intent).spec
        for number, source in enumerate(aimed.rule.sources):
            for name in outside.intersection(source.services):
                yield _no_service(document, name, "calls nobody in the mesh", "spec", "from", number)
            if aimed.to in outside and source.ip_blocks:
                yield _unjudged(document, "addresses", "spec", "from", number)
        if aimed.to in outside and spec.jwt is not None:
            yield _unjudged(document, "tokens", "spec", "jwt")


def _unjudged(document: Document, what: str, *path: str | int) -> Finding:
    return document.finding(
        "PD1283",
        f"a rule to an external host cannot ask for {what}",
        *path,
        hint="the caller's own sidecar judges it: name services, methods and paths",
    )


def _referring(work: Work, outside: set[Name]) -> Iterator[Finding]:
    for document in work.of_kind("CanarySplit"):
        name = Name.parse(cast("CanarySplit", document.intent).spec.service, document.name.namespace)
        if name in outside:
            yield _no_service(document, name, "has no versions", "spec", "service")
    routes: dict[Name, Document] = {}
    for document in work.of_kind("Route"):
        name = Name.parse(cast("Route", document.intent).spec.to, document.name.namespace)
        routes.setdefault(name, document)
        if name in outside:
            yield _no_service(document, name, "takes no routes", "spec", "to")
    for name, document in routes.items():
        route = work.services[name].route if name in work.services else None
        for led in route.services if route is not None else ():
            if led in outside:
                yield _no_service(document, led, "is no way of a route", "spec")
    for document in work.of_kind("Service"):
        for number, each in enumerate(cast("ServiceIntent", document.intent).spec.failover):
            led = Name.parse(each.service or "", document.name.namespace)
            if led in outside:
                yield _no_service(document, led, "is no fallback", "spec", "failover", number)


def _no_service(document: Document, name: Name, why: str, *path: str | int) -> Finding:
    said = short(name, document.name.namespace)
    return document.finding(
        "PD1284", f"`{said}` is an external host, which {why}", *path, hint="name a service of the mesh"
    )
