"""Metrics of the controller in Prometheus form, in a registry of its own.

The daemon feeds them; `/metrics` prints them. Commit-to-acknowledged latency comes first: it is what a person who
waits for a change feels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from policyd.api.edge_metrics import EdgeMetrics

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class _Would(Collector):
    """Counters that somebody else adds up."""

    def __init__(self) -> None:
        self.totals: Mapping[tuple[str, str], int] = {}

    def collect(self) -> Iterator[Metric]:
        """The totals as they are now."""
        family = CounterMetricFamily(
            "policyd_would",
            "Requests of which observed rules would have decided otherwise, by service, since the start",
            labels=("service", "would"),
        )
        for labels, count in sorted(self.totals.items()):
            family.add_metric(labels, count)
        yield family


class ControllerMetrics:
    """One controller's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.would = _Would()
        self.registry.register(self.would)
        self.edges = EdgeMetrics()
        self.registry.register(self.edges)
        self.commit_to_acknowledged = Histogram(
            "policyd_commit_to_acknowledged_seconds",
            "From a commit being seen to the last connected proxy having acknowledged the first thing it brought",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.stages = Histogram(
            "policyd_stage_seconds",
            "What one stage of a commit took",
            ["stage"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.parsed_files = Gauge(
            "policyd_parsed_files",
            "Intent files parsed since the start (not found in memory)",
            registry=self.registry,
        )
        self.lowered_values = Gauge(
            "policyd_lowered_values",
            "Values of the model made out of documents since the start (not found in memory)",
            registry=self.registry,
        )
        self.judged_documents = Gauge(
            "policyd_judged_documents",
            "Documents that the rules were asked about since the start (not found in memory)",
            registry=self.registry,
        )
        self.commits = Counter(
            "policyd_commits", "Commits that were judged, by result", ["result"], registry=self.registry
        )
        self.findings = Counter(
            "policyd_findings", "Findings in judged commits, by code", ["code"], registry=self.registry
        )
        self.proxies = Gauge("policyd_proxies_connected", "Proxies with an xDS stream", registry=self.registry)
        self.pushed_resources = Gauge(
            "policyd_xds_pushed_resources", "xDS resources sent since the start", registry=self.registry
        )
        self.pushed_bytes = Gauge("policyd_xds_pushed_bytes", "Bytes of xDS resources sent", registry=self.registry)
        self.refusals = Counter("policyd_xds_nacks", "Configurations that a proxy refused", registry=self.registry)
        self.releases = Gauge("policyd_releases", "Releases by phase", ["phase"], registry=self.registry)
        self.self_checks = Counter(
            "policyd_self_checks",
            "Comparisons with a controller that remembers nothing, by result",
            ["result"],
            registry=self.registry,
        )
        self.compiled = Gauge(
            "policyd_compiled_artifacts", "Artefacts compiled since the start (not found in memory)",
            registry=self.registry,
        )  # fmt: skip

    def stopwatch(self, stage: str) -> AbstractContextManager[object]:
        """Count the time that passes inside as one run of `stage`."""
        return self.stages.labels(stage).time()

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
