"""Pass: short-form objectives and OpenSLO `SLO` documents become SLOs with their alerts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.openslo import AlertCondition, IndicatorSpec, Metric, ProxySource, RatioMetric, Sli
from policyd.intents.openslo import Objective as ObjectiveIntent
from policyd.intents.openslo import Slo as SloIntent
from policyd.intents.service import Service as ServiceIntent
from policyd.intents.translate import nearest
from policyd.lowering.burn import standard_alerts
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.model.slo import Availability, BurnAlert, External, Latency, Slo

Indicator = Availability | Latency | External


def slos(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `slos`, sorted by name: those of the short form, and OpenSLO's own."""
    short = memo.pieces("short SLO", work.of_kind("Service"), _short_form)
    indicators = {document.name: document for document in work.of_kind("SLI")}
    own = [_openslo(document, indicators, memo) for document in work.of_kind("SLO")]
    made = {slo.name: slo for piece in short for slo in piece.value}
    repeated = [
        _repeated(document, work.of_kind("Service")) for document in work.of_kind("SLO") if document.name in made
    ]
    made.update((piece.value.name, piece.value) for piece in own if piece.value is not None)
    done = replace(work, slos=dict(sorted(made.items())))
    done = done.with_pieces(memo, "short SLO", short).with_pieces(memo, "SLO", own)
    return done.with_findings(repeated)


def _short_form(document: Document) -> Piece[tuple[Slo, ...]]:
    said = cast("ServiceIntent", document.intent).spec.slo
    if said is None:
        return Piece((), ())
    window_s = said.window // 1_000
    made: list[Slo] = []
    provenance: list[tuple[Key, Provenance]] = []

    def add(suffix: str, objective: float, indicator: Indicator, *path: str) -> None:
        name = Name(document.name.namespace, f"{document.name.name}-{suffix}")
        made.append(Slo(name, document.name, objective, window_s, indicator, standard_alerts(objective, window_s)))
        provenance.append((Key("SLO", name), Provenance(document.locate("spec", "slo", *path), document.owner)))

    if said.availability is not None:
        add("availability", said.availability, Availability(), "availability")
    for percentile, threshold_ms in sorted(said.latency.items()):
        share = float(Decimal(percentile) / 100)
        add(f"latency-{percentile.replace('.', '-')}", share, Latency(threshold_ms), "latency", percentile)
    return Piece(tuple(made), tuple(provenance))


def _openslo(document: Document, indicators: Mapping[Name, Document], memo: LoweringMemo) -> Piece[Slo | None]:
    spec = cast("SloIntent", document.intent).spec
    if spec.indicator_ref is None:
        return memo.value(("SLO", document.name), (document,), lambda: _slo(document))
    name = Name.parse(spec.indicator_ref, document.name.namespace)
    indicator = indicators.get(name)
    if indicator is None:
        missing = document.finding(
            "PD1212",
            f"there is no SLI `{spec.indicator_ref}`",
            "spec",
            "indicatorRef",
            hint=nearest(name.name, [known.name for known in indicators]) if indicators else "",
        )
        return Piece(None, said_by(document), (missing,))
    return memo.value(("SLO", document.name), (document, indicator), lambda: _slo(document, indicator))


def _slo(document: Document, referred: Document | None = None) -> Piece[Slo | None]:
    """One SLO; `referred` is the document of its `indicatorRef`."""
    spec = cast("SloIntent", document.intent).spec
    if len(spec.objectives) > 1:
        several = document.finding(
            "PD1214",
            "several objectives in one SLO",
            "spec",
            "objectives",
            1,
            hint="write one SLO for each objective",
        )
        return Piece(None, said_by(document), (several,))
    home = referred if referred is not None else document
    said = cast("Sli", home.intent).spec if spec.indicator is None else spec.indicator.spec
    service = Name.parse(spec.service, document.name.namespace)
    indicator = _indicator(said)
    if spec.budgeting_method == "Timeslices" and not isinstance(indicator, External):
        indicator = External("timeslices", json.dumps(home.raw["spec"], sort_keys=True), "")
    objective = _objective(spec.objectives[0])
    window_s = spec.time_window[0].duration
    alerts = tuple(_alert(policy.spec.conditions[0]) for policy in spec.alert_policies)
    slo = Slo(document.name, service, objective, window_s, indicator, alerts or standard_alerts(objective, window_s))
    return Piece(slo, said_by(document), tuple(_problems(document, home, said, service)))


def _objective(said: ObjectiveIntent) -> float:
    if said.target is not None:
        return said.target
    return float(Decimal(repr(said.target_percent)) / 100)


def _indicator(said: IndicatorSpec) -> Indicator:
    if said.ratio_metric is None:
        assert said.threshold_metric is not None
        return External(_source(said.threshold_metric), _query(said.threshold_metric), "")
    ratio = said.ratio_metric
    metric = ratio.good or ratio.bad or ratio.raw
    assert metric is not None
    if isinstance(metric.metric_source, ProxySource) and ratio.raw is None:
        threshold = metric.metric_source.spec.threshold
        return Availability() if threshold is None else Latency(threshold)
    total = _query(ratio.total) if ratio.total is not None else ""
    good = _query(metric) if ratio.bad is None else f"{total} - ({_query(metric)})"
    return External(_source(metric), good, total)


def _source(metric: Metric) -> str:
    source = metric.metric_source
    return source.type or source.metric_source_ref or ""


def _query(metric: Metric) -> str:
    """What an external source is asked: its `query`, else all that its `spec` says."""
    source = metric.metric_source
    if isinstance(source, ProxySource):
        return source.spec.service
    query: Any = source.spec.get("query")
    return query if isinstance(query, str) else json.dumps(source.spec, sort_keys=True)


def _alert(condition: AlertCondition) -> BurnAlert:
    """OpenSLO has one window; the confirming short one is `alertAfter`, else a twelfth of it.

    Source: Google SRE Workbook, chapter 5 (short window = a twelfth of the long one).
    """
    said = condition.spec.condition
    return BurnAlert(
        condition.metadata.name, said.threshold, said.lookback_window, said.alert_after or said.lookback_window // 12
    )


def _problems(document: Document, home: Document, said: IndicatorSpec, service: Name) -> Iterator[Finding]:
    """What policyd's own metric source cannot mean."""
    inside = ("spec", "indicator", "spec") if home is document else ("spec",)
    if said.ratio_metric is None:
        metric = said.threshold_metric
        if metric is not None and isinstance(metric.metric_source, ProxySource):
            yield home.finding(
                "PD1214",
                "the proxies count answers within a time, they do not keep each time",
                *inside,
                "thresholdMetric",
                at_key=True,
                hint="write `ratioMetric` with `good: {... spec: {service, threshold: 300ms}}`",
            )
        return
    for field, metric in _metrics(said.ratio_metric):
        source = metric.metric_source
        if not isinstance(source, ProxySource):
            continue
        path = (*inside, "ratioMetric", field, "metricSource", "spec")
        if Name.parse(source.spec.service, home.name.namespace) != service:
            yield home.finding(
                "PD1214",
                f"the SLO is about `{service.name}`, and this reads `{source.spec.service}`",
                *path,
                "service",
                hint="an indicator reads the service that promises",
            )
        asks = {"good": ("good", "threshold"), "bad": ("bad",), "total": ()}.get(field, ())
        given = tuple(name for name in ("good", "bad", "threshold") if getattr(source.spec, name) is not None)
        if len(given) != min(1, len(asks)) or not set(given) <= set(asks):
            wanted = " or ".join(f"`{name}`" for name in asks) or "nothing but `service`"
            yield home.finding("PD1214", f"`{field}` says {wanted}", *path)


def _metrics(ratio: RatioMetric) -> Iterator[tuple[str, Metric]]:
    for field in ("good", "bad", "total", "raw"):
        metric: Metric | None = getattr(ratio, field)
        if metric is not None:
            yield field, metric


def _repeated(document: Document, services: Iterable[Document]) -> Finding:
    """An SLO that the short form of some service makes as well."""
    name = document.name
    home = next(
        service
        for service in services
        if service.name.namespace == name.namespace and any(slo.name == name for slo in _short_form(service).value)
    )
    return document.finding(
        "PD1211",
        f"`{name.name}` is already an SLO, by `slo` in {home.locate('spec', 'slo')}",
        "metadata",
        "name",
        hint="rename it, or take it out of the short form",
    )
