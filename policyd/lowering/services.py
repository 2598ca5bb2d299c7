"""Pass: each `Service` becomes the service that callers and sidecars need to know."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.service import Endpoint as EndpointIntent
from policyd.intents.service import Service as ServiceIntent
from policyd.intents.translate import nearest
from policyd.lowering import failover, grpc, health, rate_limits, resilience
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name
from policyd.model.service import Endpoint, Protocol, Service, Split, Version


@dataclass(frozen=True, slots=True)
class _Said:
    """A service, and what it takes for itself alone: addresses, and ports on its sidecars' own addresses."""

    service: Service
    addresses: tuple[str, ...]
    ports: frozenset[int]


def services(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `services`, sorted by name; every instance has an address of its own."""
    documents = work.of_kind("Service")
    pieces = memo.pieces("Service", documents, _service)
    made = sorted((piece.value.service for piece in pieces), key=attrgetter("name"))
    found: list[Finding] = []
    if _any_shared(piece.value.addresses for piece in pieces):
        found.extend(_shared_addresses(documents))
    if work.settings is not None:
        taken = {work.settings.inbound_port, work.settings.outbound_port}
        for document, piece in zip(documents, pieces, strict=True):
            if not piece.value.ports.isdisjoint(taken):
                found.extend(_clashes(document, taken))
    done = replace(work, services={service.name: service for service in made})
    return done.with_pieces(memo, "Service", pieces).with_findings(found)


def _service(document: Document) -> Piece[_Said]:
    spec = cast("ServiceIntent", document.intent).spec
    service = Service(
        name=document.name,
        protocol=Protocol(spec.protocol),
        port=spec.port,
        versions=tuple(
            Version(name, tuple(sorted(_endpoint(endpoint, spec.port) for endpoint in version.endpoints)))
            for name, version in sorted(spec.versions.items())
        ),
        split=Split.all_to(spec.version),
        resilience=grpc.judged(
            Protocol(spec.protocol),
            resilience.lowered(spec.resilience, connections=spec.protocol == "tcp"),
            fails_over=bool(spec.failover),
        ),
        health_check=health.lowered(spec.health_check),
        opaque_paths=spec.opaque_paths,
        upgrades=tuple(sorted(set(spec.upgrades))),
        rate_limits=rate_limits.lowered(spec.rate_limit),
        failover=failover.lowered(spec.failover, document.name.namespace),
        local_ports=_local_ports(spec.local_ports, document.name.namespace),
    )
    endpoints = [endpoint for version in service.versions for endpoint in version.endpoints]
    said = _Said(
        service,
        tuple(endpoint.address for endpoint in endpoints),
        frozenset(endpoint.app_port for endpoint in endpoints if endpoint.app_address == endpoint.address),
    )
    return Piece(said, said_by(document), tuple(_problems(document)))


def _local_ports(said: Mapping[str, int], namespace: str) -> tuple[tuple[Name, int], ...]:
    return tuple(sorted((Name.parse(text, namespace), port) for text, port in said.items()))


def _endpoint(endpoint: EndpointIntent, port: int) -> Endpoint:
    """The instance; without `app`, its application listens on loopback.

    Where the instance's own address is a loopback address (many sidecars on one host), the application has that
    same address.
    """
    if endpoint.app is not None:
        app_address, app_port = endpoint.app
    else:
        loopback = ipaddress.ip_address(endpoint.address).is_loopback
        app_address, app_port = (endpoint.address if loopback else "127.0.0.1"), port
    return Endpoint(endpoint.address, app_address, app_port, endpoint.zone or "")


def _problems(document: Document) -> Iterator[Finding]:
    spec = cast("ServiceIntent", document.intent).spec
    if spec.version not in spec.versions:
        yield document.finding(
            "PD1204",
            f"`{document.name.name}` has no version `{spec.version}`",
            "spec",
            "version",
            hint=nearest(spec.version, sorted(spec.versions)),
        )
    yield from health.problems(document)
    yield from resilience.problems(document)
    yield from grpc.problems(document, spec.protocol, spec.resilience.retries, ("spec", "resilience", "retries"))
    yield from rate_limits.problems(document)
    yield from failover.problems(document)


def _any_shared(groups: Iterable[tuple[str, ...]]) -> bool:
    """Whether some address stands twice; the places are looked for only then."""
    every = [address for group in groups for address in group]
    return len(set(every)) < len(every)


def _shared_addresses(documents: tuple[Document, ...]) -> Iterator[Finding]:
    """An address belongs to one instance: it is where one sidecar listens."""
    first: dict[str, tuple[Document, tuple[str | int, ...]]] = {}
    for document in documents:
        for version, said in cast("ServiceIntent", document.intent).spec.versions.items():
            for number, endpoint in enumerate(said.endpoints):
                here = (document, ("spec", "versions", version, "endpoints", number))
                other, path = first.setdefault(endpoint.address, here)
                if other is document and path == here[1]:
                    continue
                yield document.finding(
                    "PD1208",
                    f"`{endpoint.address}` is already an instance of `{other.name.name}`, in {other.locate(*path)}",
                    *here[1],
                    hint="each instance has a sidecar and an address of its own",
                )


def _clashes(document: Document, taken: set[int]) -> Iterator[Finding]:
    spec = cast("ServiceIntent", document.intent).spec
    for version, said in spec.versions.items():
        for number, intent in enumerate(said.endpoints):
            endpoint = _endpoint(intent, spec.port)
            if endpoint.app_address == endpoint.address and endpoint.app_port in taken:
                yield document.finding(
                    "PD1217",
                    f"`{endpoint.address}:{endpoint.app_port}` is where the sidecar listens",
                    "spec",
                    "versions",
                    version,
                    "endpoints",
                    number,
                    hint="give the application another port: `{address: ..., app: 127.0.0.1:9000}`",
                )


def short(name: Name, namespace: str) -> str:
    """A name as it is written inside `namespace`."""
    return name.name if name.namespace == namespace else str(name)
