"""OpenSLO documents become SLOs, and alerts that can fire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.lowering import Lowered
from policyd.lowering.burn import standard_alerts
from policyd.model.names import Name
from policyd.model.slo import Availability, BurnAlert, External, Latency, Slo

LowerFiles = Callable[..., Lowered]
HEAD = "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: extra}\nspec:\n  service: checkout\n"
BY_REF = HEAD + "  indicatorRef: answers\n  budgetingMethod: Occurrences\n  objectives: [{targetPercent: 99.95}]\n"
SLI = """\
---
apiVersion: openslo/v1
kind: SLI
metadata: {{name: answers, displayName: Answers}}
spec:
  description: what callers see
  {metric}
"""
OURS = "{{metricSource: {{type: policyd, spec: {{service: checkout{what}}}}}}}"
THEIRS = "{{metricSource: {{type: Prometheus, spec: {{query: {query}}}}}}}"


def ours(what: str = "") -> str:
    return OURS.format(what=what)


def theirs(query: str) -> str:
    return THEIRS.format(query=query)


def _extra(lowered: Lowered) -> Slo:
    assert lowered.mesh is not None, lowered.findings
    return lowered.mesh.releases.slos[Name("default", "extra")]


@pytest.mark.parametrize(
    ("metric", "indicator"),
    [
        (f"ratioMetric: {{good: {ours(', good: non-5xx')}, total: {ours()}}}", Availability()),
        (f"ratioMetric: {{bad: {ours(', bad: 5xx')}, total: {ours()}}}", Availability()),
        (f"ratioMetric: {{good: {ours(', threshold: 250ms')}, total: {ours()}}}", Latency(250)),
        (
            f"ratioMetric: {{counter: true, good: {theirs('good')}, total: {theirs('all')}}}",
            External("Prometheus", "good", "all"),
        ),
        (
            f"ratioMetric: {{bad: {theirs('bad')}, total: {theirs('all')}}}",
            External("Prometheus", "all - (bad)", "all"),
        ),
        (f"ratioMetric: {{rawType: success, raw: {theirs('ratio')}}}", External("Prometheus", "ratio", "")),
        (f"thresholdMetric: {theirs('value')}", External("Prometheus", "value", "")),
        (
            "thresholdMetric: {metricSource: {metricSourceRef: warehouse, spec: {table: t, column: 1}}}",
            External("warehouse", '{"column": 1, "table": "t"}', ""),
        ),
    ],
)
def test_indicators(lower_with: LowerFiles, metric: str, indicator: object) -> None:
    slo = _extra(lower_with(more=BY_REF + SLI.format(metric=metric)))
    assert slo.indicator == indicator
    assert (slo.service, slo.objective, slo.window_s) == (Name("default", "checkout"), 0.9995, 2_592_000)


def test_an_inline_slo_with_its_own_window_and_alerts(lower_with: LowerFiles) -> None:
    text = HEAD + (
        f"  indicator:\n    metadata: {{name: answers}}\n    spec:\n      ratioMetric:\n"
        f"        good: {ours(', good: non-5xx')}\n        total: {ours()}\n"
        "  timeWindow: [{duration: 4w, isRolling: true}]\n"
        "  budgetingMethod: Occurrences\n  objectives: [{displayName: answers, target: 0.99}]\n"
        "  alertPolicies:\n"
        "    - kind: AlertPolicy\n      metadata: {name: fast}\n      spec:\n        alertWhenBreaching: true\n"
        "        conditions:\n          - kind: AlertCondition\n            metadata: {name: burns}\n"
        "            spec:\n              severity: page\n"
        "              condition: {kind: burnrate, op: gte, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}\n"
        "        notificationTargets: [{targetRef: on-call}]\n"
        "    - metadata: {name: slow}\n      spec:\n        conditions:\n          - metadata: {name: smoulders}\n"
        "            spec: {severity: ticket, condition: {threshold: 1.5, lookbackWindow: 1d}}\n"
    )
    slo = _extra(lower_with(more=text))
    assert slo.window_s == 2_419_200
    assert slo.alerts == (BurnAlert("burns", 2.0, 3_600, 300), BurnAlert("smoulders", 1.5, 86_400, 7_200))


def test_an_slo_by_annotation_lives_in_another_namespace(lower_with: LowerFiles) -> None:
    text = (
        "apiVersion: openslo/v1\nkind: SLO\n"
        "metadata: {name: settles, annotations: {policyd.dev/namespace: pay, policyd.dev/owner: team-pay}}\n"
        "spec:\n  service: ledger\n  budgetingMethod: Timeslices\n  objectives: [{target: 0.9, timeSliceTarget: 0.95,"
        " timeSliceWindow: 5m}]\n"
        f"  indicator: {{spec: {{ratioMetric: {{good: {theirs('good')}, total: {theirs('all')}}}}}}}\n"
    )
    lowered = lower_with(more=text)
    assert lowered.mesh is not None, lowered.findings
    assert lowered.mesh.releases.slos[Name("pay", "settles")].service == Name("pay", "ledger")


def test_the_standard_alerts_of_thirty_days_are_those_of_the_workbook() -> None:
    factors = {alert.name: alert.factor for alert in standard_alerts(0.999, 30 * 86_400)}
    assert factors == {"page-fast": 14.4, "page-slow": 6.0, "ticket-fast": 3.0, "ticket-slow": 1.0}


@given(
    objective=st.floats(min_value=0.01, max_value=0.99999),
    window_s=st.integers(min_value=60, max_value=400 * 86_400),
)
def test_every_standard_alert_can_fire_and_fits_its_window(objective: float, window_s: int) -> None:
    for alert in standard_alerts(objective, window_s):
        assert alert.factor * (1 - objective) < 1
        assert alert.factor >= 1
        assert alert.short_s < alert.long_s < window_s
