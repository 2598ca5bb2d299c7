"""The backends of a destination: one for each version, equal byte for byte for every caller.

They do not depend on the split: a step of a canary changes what callers choose, and nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator

from policyd.compiler.artifact import Artifact
from policyd.model.mesh import Settings
from policyd.model.names import dns_name
from policyd.model.service import Protocol, Service, Version
from policyd_compilers.haproxy import balancing, breakers, health, retries, tls, upgrades
from policyd_compilers.haproxy.endpoints import socket_address
from policyd_compilers.haproxy.names import backend, destination_file
from policyd_compilers.haproxy.text import artifact, milliseconds, section

POOL_IDLE = "5s"
"""Connections that nobody uses are closed by the caller, long before the callee would."""
_MULTIPLEXED = frozenset({Protocol.HTTP2, Protocol.GRPC})


def destination(settings: Settings, service: Service) -> Artifact:
    """The file of one destination. A version without instances has a backend without servers: 503."""
    sections = [
        section(f"backend {backend(service.name, version.name)}", _lines(settings, service, version))
        for version in service.versions
    ]
    return artifact(destination_file(service.name), sections)


def _lines(settings: Settings, service: Service, version: Version) -> Iterator[str]:
    timeouts = service.resilience.timeouts
    host = dns_name(settings.trust_domain, service.name)
    balance = service.resilience.load_balancing
    yield from balancing.rules(balance)
    yield f"timeout connect {milliseconds(timeouts.connect_ms)}"
    yield f"timeout server {milliseconds(timeouts.per_try_ms or timeouts.request_ms)}"
    yield from breakers.rules(service.resilience.circuit_breaker)
    yield from retries.rules(service.resilience.retries)
    yield "http-reuse always"
    yield from upgrades.silence(service)
    checked = ""
    if service.health_check is not None:
        yield from health.of_instance(service.health_check, host)
        checked = f" {health.server(service.health_check)} check-sni {host} check-alpn http/1.1"
    slowly = balancing.server(balance.slow_start)
    multiplexed = service.protocol in _MULTIPLEXED
    yield f"default-server {tls.server(host, multiplexed=multiplexed)} pool-purge-delay {POOL_IDLE}{checked}{slowly}"
    for endpoint in sorted(version.endpoints, key=lambda each: each.address):
        yield f"server {endpoint.address} {socket_address(endpoint.address, settings.inbound_port)}"
