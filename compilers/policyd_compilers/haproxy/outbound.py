"""What the application reaches: the destinations that its identity may call, each by its names, and nothing else.

Each version of a destination has a backend of its own, and one draw for each request chooses among them: the split is
by request, as in every data plane, and each version keeps counters of its own. A retry stays within its version.
"""

from __future__ import annotations

from collections.abc import Iterator

from policyd.compiler.naming import OUTBOUND, host_names
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.compiler.sources import Sources
from policyd.model.mesh import Settings
from policyd.model.service import WHOLE, Service
from policyd_compilers.haproxy import access_log, balancing, canonical, inbound, replies, routes, upgrades
from policyd_compilers.haproxy.endpoints import socket_address
from policyd_compilers.haproxy.names import backend, condition
from policyd_compilers.haproxy.text import argument, section, word

IDLE = "300s"


def rules(sources: Sources) -> tuple[str, ...]:
    """The lines of the frontend that all instances of a caller share."""
    return tuple(_rules(sources))


def frontend(settings: Settings, address: str, shared: tuple[str, ...]) -> str:
    """The frontend of the instances that listen on this loopback address: on one machine one, in the mesh many."""
    bind = f"bind {socket_address(address, settings.outbound_port)}"
    return section(f"frontend {OUTBOUND}", [bind, *shared])


def _rules(sources: Sources) -> Iterator[str]:
    caller = sources.service.name
    yield f"timeout client {IDLE}"
    yield f"timeout http-keep-alive {IDLE}"
    yield access_log.outbound()
    yield from access_log.remember()
    yield from canonical.host()
    yield f"http-request set-var(txn.route) str({NOT_IN_SCOPE})"
    for service in sources.requested:
        yield from _named(sources.settings, service, local=service.name.namespace == caller.namespace)
        yield from routes.taken(service)
    refused = f"if {{ var(txn.route) -m str -- {NOT_IN_SCOPE} }}"
    yield replies.deny(403, NOT_IN_SCOPE, refused, caller)
    yield from upgrades.carried(sources.requested, caller)
    yield "http-request del-header x-forwarded-client-cert"
    yield from inbound.forward()
    yield "http-request set-header host %[var(txn.host)]"
    yield f"http-request set-var(txn.draw) rand({WHOLE})"
    known = {service.name: service for service in sources.requested}.get
    for service in sources.requested:
        yield from _by_key(service)
        yield from routes.ways(service, known, caller)
    for service in sources.requested:
        yield from routes.backends(service, known)
        yield from _choices(service)


def _named(settings: Settings, service: Service, *, local: bool) -> Iterator[str]:
    """The names of a destination, and the header that comes before its weights."""
    names = host_names(settings, service.name, local=local)
    named, first = condition(service.name, "named"), condition(service.name, "first")
    yield f"acl {named} var(txn.host) -m str -- {' '.join(word(name) for name in names)}"
    yield f"http-request set-var(txn.route) str(split) if {named}"
    if service.split.first is not None:
        header = service.split.first
        yield f"acl {first} req.fhdr({argument(header.name)}) -m str -- {word(header.value)}"
        yield f"http-request set-var(txn.route) str(first) if {named} {first}"


def _by_key(service: Service) -> Iterator[str]:
    """What makes one key draw one version, where the service goes by a key and has several."""
    if len(service.split.weights) > 1:
        yield from balancing.draw(service.resilience.load_balancing, condition(service.name, "named"))


def _choices(service: Service) -> Iterator[str]:
    """The first line that holds: the header, then each version's part of the draw from 0 to `WHOLE`."""
    named, first = condition(service.name, "named"), condition(service.name, "first")
    split = service.split
    if split.first is not None:
        yield f"use_backend {backend(service.name, split.first_version)} if {named} {first}"
    below = 0
    for version, weight in split.weights:
        below += weight
        draw = f" {{ var(txn.draw) -m int lt {below} }}" if below < WHOLE else ""
        yield f"use_backend {backend(service.name, version)} if {named}{draw}"
