"""Totals by edge: they only grow, and a mesh of any size makes no more series than were agreed on."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from policyd.api.metrics import ControllerMetrics
from policyd.telemetry.counters import NodeTick, Outcomes, Tick
from policyd.telemetry.source import Buckets
from policyd.telemetry.totals import OTHERS, EdgeTotals

WEB = "default/web/v1/10.0.0.1"
EDGE = ("default/web", "default/pay", "v1")


def tick(**clusters: Outcomes) -> Tick:
    return Tick(1.0, {WEB: NodeTick({f"default/{name}/v1": outcomes for name, outcomes in clusters.items()})})


def test_what_happened_is_added_up_by_edge_and_version() -> None:
    totals = EdgeTotals()
    totals.add(tick(pay=Outcomes(10, 1, Buckets((10.0, math.inf), (4, 9)), 2, 3), app=Outcomes()))
    totals.add(tick(pay=Outcomes(5, 0, Buckets((10.0, math.inf), (5, 5)), 0, 1)))
    assert totals.totals == {EDGE: Outcomes(15, 1, Buckets((10.0, math.inf), (9, 14)), 2, 4)}


def test_more_edges_than_fit_are_added_up_as_one() -> None:
    totals = EdgeTotals(largest=2)
    totals.add(tick(a=Outcomes(1), b=Outcomes(2), c=Outcomes(4), d=Outcomes(8)))
    totals.add(tick(a=Outcomes(1), d=Outcomes(8)))
    requests = {labels: outcomes.requests for labels, outcomes in totals.totals.items()}
    assert requests == {
        ("default/web", "default/a", "v1"): 2,
        ("default/web", "default/b", "v1"): 2,
        OTHERS: 20,
    }


def test_prometheus_can_read_it() -> None:
    metrics = ControllerMetrics()
    metrics.edges.totals = {EDGE: Outcomes(15, 1, Buckets((10.0, 250.0, math.inf), (9, 13, 14)), 2, 4)}
    metrics.edges.open_circuits = {EDGE: 2}
    read = {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.labels.get("source") == "default/web"
    }
    edge = "policyd_edge_"
    assert read == {
        (f"{edge}requests_total", ""): 15,
        (f"{edge}errors_total", ""): 1,
        (f"{edge}refused_total", ""): 2,
        (f"{edge}retries_total", ""): 4,
        (f"{edge}latency_seconds_bucket", "0.01"): 9,
        (f"{edge}latency_seconds_bucket", "0.25"): 13,
        (f"{edge}latency_seconds_bucket", "+Inf"): 14,
        (f"{edge}latency_seconds_count", ""): 14,
        (f"{edge}open_circuits", ""): 2,
    }
