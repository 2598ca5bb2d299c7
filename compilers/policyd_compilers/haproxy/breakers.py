"""Circuit breakers: how many requests a caller's sidecar may have under way at once towards one version."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.model.resilience import CircuitBreaker
from policyd_compilers.haproxy import replies


def rules(breaker: CircuitBreaker | None) -> Iterator[str]:
    """The lines of a backend. `be_conn` counts the request that is being judged, too.

    Connections are pooled, so that a bound on them would make requests wait: HAProxy has no bound on who waits for a
    connection, only a queue for each server. `losses` says so.
    """
    if breaker is None or not breaker.requests:
        return
    yield replies.deny(503, replies.OVERFLOW, f"if {{ be_conn gt {breaker.requests} }}")
