"""How a call to a service is bounded and tried again. Everything is explicit: no proxy default applies."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.base.content import later
from policyd.model.balancing import LoadBalancing


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of one call. `per_try_ms` 0 means that only the request as a whole is bounded.

    `stream_ms` bounds an exchange from its first byte to its last, uploads and upgrades included; 0: nothing does.
    """

    connect_ms: int = 1_000
    request_ms: int = 15_000
    per_try_ms: int = 0
    idle_ms: int = 300_000
    stream_ms: int = later(0)


@dataclass(frozen=True, slots=True)
class Retries:
    """When a failed call is made again.

    `attempts` counts the further tries; `on` holds conditions (`connect-failure`, `reset`, `refused-stream`,
    `gateway-error`) and status codes (`503`); `methods` are those that may be sent twice; `budget` is the
    share of active requests that may be retries, in basis points. Before each further try passes a random time, below
    `base_ms` doubled with each of them, `max_ms` at most.
    """

    attempts: int = 0
    on: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
    budget: int = 2_000
    base_ms: int = later(25)
    max_ms: int = later(250)


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """What one caller's sidecar may have open at once towards each version; 0: not bounded.

    With `retries` the further tries are bounded by this number, and the budget does not hold.
    """

    connections: int = 0
    pending: int = 0
    requests: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Leave out an instance whose success rate lies `deviations` (thousandths) below the mean of the instances.

    Only among at least `instances` that had `requests` each in the last interval.
    """

    deviations: int
    instances: int
    requests: int


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When an instance is left out for a while: errors in a row (0: not looked at), or its success rate.

    It is left out `base_ms` times the number of times that it was, at most `max_ms`; never more than `max_ejected`
    (basis points) of a version's instances at once.
    """

    consecutive_errors: int = 0
    consecutive_gateway_errors: int = 0
    success_rate: SuccessRate | None = None
    interval_ms: int = 10_000
    base_ms: int = 30_000
    max_ms: int = 300_000
    max_ejected: int = 5_000


@dataclass(frozen=True, slots=True)
class Resilience:
    """All of it, for one service."""

    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    circuit_breaker: CircuitBreaker | None = later(None)
    outlier_detection: OutlierDetection | None = later(None)
    load_balancing: LoadBalancing = later(LoadBalancing())
    panic: int = later(0)
    """Below this share of healthy instances (basis points) all are called, healthy or not; 0: never."""
