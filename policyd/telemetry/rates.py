"""Requests per second, error rate and latency per service and version: for people's eyes, never for a decision."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from policyd.compiler.naming import parse_cluster_name
from policyd.model.names import Name
from policyd.telemetry.buckets import quantile
from policyd.telemetry.counters import Outcomes, Tick
from policyd.telemetry.windows import together

WINDOW_S = 10.0
"""How far back the table looks: two of Envoy's histogram flushes."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How one version of a service did lately, as all of its callers saw it. Quantiles are milliseconds."""

    service: Name
    version: str
    requests_per_s: float
    error_share: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Rates:
    """Remembers the last ticks; `table` sums them up."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._ticks: deque[tuple[float, dict[tuple[Name, str], Outcomes]]] = deque()

    def add(self, tick: Tick) -> None:
        """Take one more tick and forget those that are older than the window."""
        self._ticks.append((tick.seconds, _by_version(tick)))
        while len(self._ticks) > 1 and sum(seconds for seconds, _ in self._ticks) > self._window_s:
            self._ticks.popleft()

    def table(self) -> tuple[Rate, ...]:
        """One line per version that was called within the window, sorted."""
        seconds = sum(length for length, _ in self._ticks)
        if seconds <= 0:
            return ()
        keys = sorted({key for _, seen in self._ticks for key in seen})
        return tuple(
            _rate(key, together(seen[key] for _, seen in self._ticks if key in seen), seconds) for key in keys
        )


def _by_version(tick: Tick) -> dict[tuple[Name, str], Outcomes]:
    seen: dict[tuple[Name, str], Outcomes] = {}
    for counted in tick.nodes.values():
        for cluster, outcomes in counted.clusters.items():
            key = parse_cluster_name(cluster)
            if key is not None:
                seen[key] = together((seen.get(key, Outcomes()), outcomes))
    return seen


def _rate(key: tuple[Name, str], seen: Outcomes, seconds: float) -> Rate:
    p50, p95, p99 = (quantile(seen.latency, q) if seen.latency is not None else None for q in (0.5, 0.95, 0.99))
    return Rate(
        service=key[0],
        version=key[1],
        requests_per_s=seen.requests / seconds,
        error_share=seen.errors / seen.requests if seen.requests else 0.0,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )
