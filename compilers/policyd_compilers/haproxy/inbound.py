"""What peers reach: mutual TLS, canonical requests only, access rules, then the application."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.compiler.naming import APP, EDGE_HEADER, INBOUND
from policyd.compiler.sources import Sources
from policyd.model.service import Endpoint, Probe, Protocol, Service
from policyd_compilers.haproxy import access, access_log, canonical, health, replies, tls, upgrades
from policyd_compilers.haproxy.endpoints import socket_address
from policyd_compilers.haproxy.names import APP_HEALTH
from policyd_compilers.haproxy.text import milliseconds, section

IDLE_GRACE_MS = 10_000
"""How much longer than its callers a callee keeps an idle connection: the caller closes first, and no request
meets a closing connection."""
APP_IDLE = "1s"
"""Idle connections to the application are closed first by us: a common server closes its own after 2 to 5 s."""
_MULTIPLEXED = frozenset({Protocol.HTTP2, Protocol.GRPC})


def rules(sources: Sources) -> tuple[str, ...]:
    """The lines of the frontend that all instances of a service share."""
    return tuple(_rules(sources))


def sections(sources: Sources, endpoint: Endpoint, shared: tuple[str, ...]) -> list[str]:
    """The frontend of one instance, and its application behind it.

    It takes calls at every port where callers may look for it while the port of the settings changes.
    """
    service = sources.service
    binds = [f"bind {socket_address(endpoint.address, port)} {tls.bind()}" for port in sources.inbound_ports]
    made = [
        section(f"frontend {INBOUND}", [*binds, *shared]),
        section(f"backend {APP}", _application(service, endpoint)),
    ]
    if service.health_check is not None:
        made.append(section(f"backend {APP_HEALTH}", _checked(service, endpoint)))
    return made


def _rules(sources: Sources) -> Iterator[str]:
    service = sources.service
    idle = service.longest.idle_ms
    kept = milliseconds(idle + IDLE_GRACE_MS if idle else 0)
    yield f"timeout client {kept}"
    yield f"timeout http-keep-alive {kept}"
    yield "option forwardfor"
    yield access_log.inbound()
    yield from access.identity()
    yield f"http-request set-var({replies.TOLD}) var(txn.caller) unless {{ req.hdr({EDGE_HEADER}) -m found }}"
    yield from access_log.remember()
    yield from canonical.rules(opaque_paths=service.opaque_paths)
    if service.health_check is not None:
        yield from health.answer(service.health_check)
    yield from upgrades.offered(service)
    yield from access.rules(sources.settings, service, sources.access)
    yield from forward()
    yield f"default_backend {APP}"


def forward() -> Iterator[str]:
    """What is passed on: the plain form of the request, without headers that steer a proxy or claim an identity."""
    yield "http-request set-uri %[pathq] unless { url -m beg -- / }"
    yield "http-request del-header x-envoy- -m beg"
    yield "http-request del-header client-cert -m beg"
    yield f"http-request del-header {EDGE_HEADER}"


def _application(service: Service, endpoint: Endpoint) -> Iterator[str]:
    """The one instance beside this sidecar, in the clear, on loopback. Its health never cuts requests off here.

    The bound of a call holds here too, so that no attempt outlives the callers' patience.
    """
    timeouts = service.longest
    yield f"timeout connect {milliseconds(timeouts.connect_ms)}"
    yield f"timeout server {milliseconds(timeouts.request_ms)}"
    yield "retries 0"
    yield "http-reuse safe"
    yield from upgrades.silence(service)
    protocol = " proto h2" if service.protocol in _MULTIPLEXED else ""
    address = socket_address(endpoint.app_address, endpoint.app_port)
    yield f"server {APP} {address}{protocol} pool-purge-delay {APP_IDLE}"


def _checked(service: Service, endpoint: Endpoint) -> Iterator[str]:
    """The application once more, only to ask how it is."""
    assert service.health_check is not None
    yield f"timeout connect {milliseconds(service.resilience.timeouts.connect_ms)}"
    yield f"timeout server {milliseconds(service.health_check.timeout_ms)}"
    yield from health.of_application(service.health_check, service.name.name)
    by_http2 = service.health_check.probe is Probe.HTTP and service.protocol in _MULTIPLEXED
    protocol = " check-proto h2" if by_http2 else ""
    address = socket_address(endpoint.app_address, endpoint.app_port)
    yield f"server {APP} {address} {health.server(service.health_check)}{protocol}"
