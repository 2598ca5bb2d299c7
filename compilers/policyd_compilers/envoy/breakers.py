"""Circuit breakers: what a caller's sidecar may have open at once towards one version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.config.cluster.v3 import circuit_breaker_pb2
from envoy.type.v3 import percent_pb2

from policyd.model.resilience import CircuitBreaker, Retries
from policyd.model.service import WHOLE, Protocol, Service
from policyd_compilers.envoy.proto import uint32

UNBOUNDED = 2**32 - 1
"""No limit. Envoy's own 1024/1024/1024/3 would refuse traffic that nobody asked it to refuse."""
LEAST_RETRIES = 3
"""Further tries that a budget always leaves room for: a share of few requests would be none."""
_Thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds


def of(service: Service, *, fails_over: bool) -> Any:
    """The bounds of a destination's clusters. Where calls go on elsewhere, a share of them does not bound the tries.

    In an outage every call is tried again, once: a budget would refuse those that it has no room for.
    """
    resilience = service.resilience
    asked = resilience.circuit_breaker
    if asked is not None and service.protocol is Protocol.TCP:
        # What the sidecars carry many of on one connection is the service's connections.
        asked = replace(asked, requests=asked.connections, connections=0)
    message = thresholds(asked, resilience.retries)
    if fails_over and message.HasField("retry_budget"):
        message.ClearField("retry_budget")
        message.max_retries.CopyFrom(uint32(UNBOUNDED))
    return message


def thresholds(breaker: CircuitBreaker | None, retries: Retries) -> Any:
    """All four bounds; that on further tries is a share of the active requests, unless a number takes its place."""
    asked = breaker or CircuitBreaker()
    message = _Thresholds(
        max_connections=uint32(asked.connections or UNBOUNDED),
        max_pending_requests=uint32(asked.pending or UNBOUNDED),
        max_requests=uint32(asked.requests or UNBOUNDED),
    )
    if asked.retries:
        message.max_retries.CopyFrom(uint32(asked.retries))
    else:
        message.retry_budget.CopyFrom(
            _Thresholds.RetryBudget(
                budget_percent=percent_pb2.Percent(value=retries.budget * 100 / WHOLE),
                min_retry_concurrency=uint32(LEAST_RETRIES),
            )
        )
    return message
