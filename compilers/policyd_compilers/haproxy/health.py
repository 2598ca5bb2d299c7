"""Health: callers ask the sidecar, the sidecar asks its application; the same conversation as in every data plane.

A check carries a header of its own, so that it opens no access, and the callee's sidecar answers it from its own
check: a hundred callers are one check for the application.
"""

from __future__ import annotations

from collections.abc import Iterator

from policyd.compiler.naming import HEALTH_CHECK_HEADER, health_path
from policyd.model.service import HealthCheck, Probe
from policyd_compilers.haproxy import grpc_health
from policyd_compilers.haproxy.names import APP_HEALTH
from policyd_compilers.haproxy.text import milliseconds, word

RECOVERY_MS = 1_000
"""How often at least an unhealthy instance is asked again, whatever the interval: it is needed most then."""


def of_instance(check: HealthCheck, host: str) -> Iterator[str]:
    """The lines of a backend whose servers are sidecars: HTTP, whatever they ask their applications."""
    yield from _http(check, health_path(check), host, f" hdr {HEALTH_CHECK_HEADER} 1")


def of_application(check: HealthCheck, host: str) -> Iterator[str]:
    """The lines of the backend with the application. Without any, a connection that is accepted is enough."""
    if check.probe is Probe.HTTP:
        yield from _http(check, check.path, host, "")
        return
    yield f"timeout check {milliseconds(check.timeout_ms)}"
    if check.probe is Probe.GRPC:
        yield "option tcp-check"
        yield "tcp-check connect"
        yield f"tcp-check send-binary {grpc_health.question(check.grpc_service, host).hex()}"
        yield f"tcp-check expect binary {grpc_health.SERVING.hex()}"


def _http(check: HealthCheck, path: str, host: str, header: str) -> Iterator[str]:
    yield "option httpchk"
    yield f"http-check send meth GET uri {word(path)} ver HTTP/1.1 hdr host {word(host)}{header}"
    yield "http-check expect status 200"
    yield f"timeout check {milliseconds(check.timeout_ms)}"


def server(check: HealthCheck) -> str:
    """The words of a `server` line that say how often."""
    recovery = milliseconds(min(check.interval_ms, RECOVERY_MS))
    return (
        f"check inter {milliseconds(check.interval_ms)} downinter {recovery} "
        f"fall {check.unhealthy_threshold} rise {check.healthy_threshold}"
    )


def answer(check: HealthCheck) -> Iterator[str]:
    """The lines that answer callers' checks: 200 while the application passes its own, 503 otherwise."""
    yield f"acl health-check path -m str -- {word(health_path(check))}"
    yield f"acl marked req.hdr({HEALTH_CHECK_HEADER}) -m str -- 1"
    yield f"http-request return status 200 if health-check marked {{ nbsrv({APP_HEALTH}) gt 0 }}"
    yield "http-request return status 503 if health-check marked"
