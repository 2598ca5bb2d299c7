"""How a call to a service is bounded and tried again. Everything is explicit: no proxy default applies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of one call. `per_try_ms` 0 means that only the request as a whole is bounded."""

    connect_ms: int = 1_000
    request_ms: int = 15_000
    per_try_ms: int = 0
    idle_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class Retries:
    """When a failed call is made again.

    `attempts` counts the further tries; `on` holds conditions (`connect-failure`, `reset`, `refused-stream`,
    `gateway-error`) and status codes (`503`); `methods` are those that may be sent twice; `budget` is the
    share of active requests that may be retries, in basis points.
    """

    attempts: int = 0
    on: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
    budget: int = 2_000


@dataclass(frozen=True, slots=True)
class Resilience:
    """All of it, for one service."""

    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
