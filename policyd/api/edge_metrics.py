"""What every edge did, in Prometheus form: requests, errors, refusals, retries, latencies, open circuits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from policyd.telemetry.counters import Outcomes
from policyd.telemetry.totals import EdgeLabels

_LABELS = ("source", "destination", "version")
_COUNTERS = (
    ("requests", "Final outcomes at the caller, by edge, since the start"),
    ("errors", "Answers of 500 and above, of the callee or in its stead"),
    ("refused", "Answers of 401 and 403, of the callee's sidecar or of its application"),
    ("retries", "Further attempts that callers' sidecars made"),
)
_LATENCY = "policyd_edge_latency_seconds"


class EdgeMetrics(Collector):
    """Prints what somebody else adds up."""

    def __init__(self) -> None:
        self.totals: Mapping[EdgeLabels, Outcomes] = {}
        self.open_circuits: Mapping[EdgeLabels, int] = {}
        """Sidecars of the source at which a bound of the circuit breaker is reached now; others are not listed."""

    def collect(self) -> Iterator[Metric]:
        """All of it as it is now."""
        known = sorted(self.totals.items())
        for field, words in _COUNTERS:
            family = CounterMetricFamily(f"policyd_edge_{field}", words, labels=_LABELS)
            for labels, outcomes in known:
                family.add_metric(labels, getattr(outcomes, field))
            yield family
        latency = HistogramMetricFamily(_LATENCY, "Answers of the callee by how long they took", labels=_LABELS)
        for labels, outcomes in known:
            _add(latency, labels, outcomes)
        yield latency
        circuits = GaugeMetricFamily(
            "policyd_edge_open_circuits",
            "Sidecars of the source whose circuit to the version is open",
            labels=_LABELS,
        )
        for labels, _ in known:
            circuits.add_metric(labels, self.open_circuits.get(labels, 0))
        yield circuits


def _add(family: HistogramMetricFamily, labels: EdgeLabels, outcomes: Outcomes) -> None:
    """One histogram. Sidecars do not tell the sum of what they timed, so there is none."""
    if outcomes.latency is None:
        return
    bounds = zip(outcomes.latency.bounds_ms, outcomes.latency.counts, strict=True)
    buckets = [("+Inf" if math.isinf(bound) else f"{bound / 1_000:g}", float(count)) for bound, count in bounds]
    family.add_metric(labels, buckets, None)
    family.add_sample(f"{_LATENCY}_count", dict(zip(_LABELS, labels, strict=True)), outcomes.latency.total)
