"""Pass: each `Gateway` becomes a caller of services, with instances and an identity, that nobody calls.

It stands among the services, so that rules name it, nodes and certificates are made for it, and releases take it in
waves like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.gateway import EdgeListener, GatewaySpec
from policyd.intents.gateway import Entry as EntryIntent
from policyd.intents.gateway import Gateway as GatewayIntent
from policyd.lowering import routes
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.gateway import VERSION, Entry, Gateway, Listener
from policyd.model.names import Name
from policyd.model.route import Match, RouteRule
from policyd.model.service import Endpoint, Protocol, Service, Split, Version


def gateways(work: Work, memo: LoweringMemo) -> Work:
    """Add them to `services`; each has a name, and its instances addresses, of its own."""
    documents = work.of_kind("Gateway")
    if not documents:
        return work
    pieces = memo.pieces("Gateway", documents, _gateway)
    found = [*_taken(work, documents), *_shared(work, documents)]
    made = {piece.value.name: piece.value for piece in pieces}
    together = sorted({**made, **work.services}.values(), key=attrgetter("name"))
    done = replace(work, services={service.name: service for service in together})
    return done.with_pieces(memo, "Gateway", pieces).with_findings(found)


def _gateway(document: Document) -> Piece[Service]:
    spec = cast("GatewayIntent", document.intent).spec
    # Nobody behind a gateway listens: it has no application.
    endpoints = tuple(sorted(Endpoint(each.address, each.address, 0, each.zone or "") for each in spec.endpoints))
    gateway = Gateway(
        listeners=tuple(sorted(map(_listener, spec.listeners), key=attrgetter("port", "hosts"))),
        entries=tuple(_entry(each, number, document.name.namespace) for number, each in enumerate(spec.routes, 1)),
        issuer=spec.jwt.issuer if spec.jwt is not None else "",
        trusted_hops=spec.trusted_hops,
        allow_from=tuple(sorted(set(spec.allow_from))),
        hsts_s=(spec.hsts or 0) // 1_000,
    )
    service = Service(
        name=document.name,
        protocol=Protocol.HTTP,
        port=gateway.ports[0],
        versions=(Version(VERSION, endpoints),),
        split=Split.all_to(VERSION),
        gateway=gateway,
    )
    return Piece(service, said_by(document, "Service"), tuple(_at_odds(document, spec)))


def _listener(said: EdgeListener) -> Listener:
    certificate = said.tls.certificate if said.tls is not None else ""
    return Listener(said.port, tuple(sorted(set(said.hosts))), certificate, said.plaintext)


def _entry(said: EntryIntent, number: int, namespace: str) -> Entry:
    rule = RouteRule(
        name=said.name or f"rule-{number}",
        match=routes.match(said.match) if said.match is not None else Match(),
        redirect=routes.redirect(said.redirect),
        rewrite=routes.rewrite(said.rewrite),
    )
    return Entry(rule, Name.parse(said.to, namespace) if said.to is not None else None, said.public)


def _at_odds(document: Document, spec: GatewaySpec) -> Iterator[Finding]:
    """On one port a host has one listener, and either all of them speak TLS or none does."""
    taken: dict[tuple[int, str], int] = {}
    first: dict[int, EdgeListener] = {}
    for number, each in enumerate(spec.listeners):
        for host in each.hosts:
            if (other := taken.setdefault((each.port, host), number)) != number:
                yield document.finding(
                    "PD1286",
                    f"`{host}` at port {each.port} already has a listener, in "
                    f"{document.locate('spec', 'listeners', other)}",
                    *("spec", "listeners", number, "hosts"),
                    hint="a client asks for one name and is shown one certificate",
                )
        if (first.setdefault(each.port, each).tls is None) != (each.tls is None):
            yield document.finding(
                "PD1286",
                f"port {each.port} cannot speak TLS and not speak it",
                *("spec", "listeners", number),
                hint="give one of the listeners another port",
            )
    secured = Gateway(tuple(map(_listener, spec.listeners)), ())
    for number, each in enumerate(spec.listeners):
        for host in each.hosts if each.tls is None and not each.plaintext else ():
            if secured.secured(host) is None:
                yield document.finding(
                    "PD1290",
                    f"`{host}` is sent from port {each.port} to where it is found over TLS, which is nowhere",
                    *("spec", "listeners", number, "hosts"),
                    hint="a listener with `tls` for it, or `plaintext: true` to take its requests in the clear",
                )
    if spec.hsts is not None and not any(each.tls is not None for each in spec.listeners):
        yield document.finding("PD1290", "`hsts` asks for TLS, which no listener speaks", *("spec", "hsts"))


def _taken(work: Work, documents: tuple[Document, ...]) -> Iterator[Finding]:
    homes = {each.name: each for kind in ("Service", "Egress") for each in work.of_kind(kind)}
    for document in documents:
        if (home := homes.get(document.name)) is not None:
            yield document.finding(
                "PD1285",
                f"`{document.name.name}` is already called so in {home.locate('metadata', 'name')}",
                *("metadata", "name"),
                hint="rules name services and gateways alike, so they share their names",
            )


def _shared(work: Work, documents: tuple[Document, ...]) -> Iterator[Finding]:
    """An address belongs to one proxy: what a node is sent is known by it."""
    first: dict[str, str] = {
        endpoint.address: service.name.name
        for service in work.services.values()
        for version in service.versions
        for endpoint in version.endpoints
    }
    for document in documents:
        seen: set[str] = set()
        for number, each in enumerate(cast("GatewayIntent", document.intent).spec.endpoints):
            other = first.setdefault(each.address, document.name.name)
            if each.address in seen or other != document.name.name:
                yield document.finding(
                    "PD1285",
                    f"`{each.address}` is already an instance of `{other}`",
                    *("spec", "endpoints", number),
                    hint="each proxy has an address of its own",
                )
            seen.add(each.address)
