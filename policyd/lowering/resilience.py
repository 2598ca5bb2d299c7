"""Part of the pass `services`: `resilience` of a service, and what in it cannot hold together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.resilience import CircuitBreaker as BreakerIntent
from policyd.intents.resilience import OutlierDetection as OutlierIntent
from policyd.intents.resilience import Resilience as ResilienceIntent
from policyd.intents.resilience import Retry as RetryIntent
from policyd.intents.resilience import SuccessRate as RateIntent
from policyd.intents.service import Service as ServiceIntent
from policyd.lowering import balancing, times
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries, SuccessRate, Timeouts
from policyd.model.service import WHOLE

_HERE = ("spec", "resilience")


IDLE_CONNECTION_MS = 3_600_000
"""How long a connection to a `tcp` service may be silent unless the intent says so: pools keep theirs for long."""


def lowered(intent: ResilienceIntent, *, connections: bool = False) -> Resilience:
    """The model of what the intent says; `connections`: of a service that takes them."""
    kept = connections and "idle" not in intent.timeout.model_fields_set
    return Resilience(
        Timeouts(
            connect_ms=intent.timeout.connect,
            request_ms=intent.timeout.request,
            per_try_ms=intent.timeout.per_try or 0,
            idle_ms=IDLE_CONNECTION_MS if kept else intent.timeout.idle,
            stream_ms=intent.timeout.stream or 0,
        ),
        _retries(intent.retries),
        _breaker(intent.circuit_breaker),
        _outliers(intent.outlier_detection),
        balancing.lowered(intent.load_balancing),
        intent.panic_threshold,
    )


def problems(document: Document) -> Iterator[Finding]:
    """What contradicts itself, or would never do anything."""
    intent = cast("ServiceIntent", document.intent).spec.resilience
    yield from times.problems(document)
    if intent.circuit_breaker is not None:
        yield from _of_breaker(document, intent.circuit_breaker, intent.retries)
    if intent.outlier_detection is not None:
        yield from _of_outliers(document, intent.outlier_detection)
        yield from _without_effect(document, intent.outlier_detection)
    yield from balancing.problems(document)


def _retries(intent: RetryIntent | None) -> Retries:
    if intent is None:
        return Retries()
    return Retries(
        attempts=intent.attempts,
        on=tuple(sorted(set(intent.on))),
        methods=tuple(sorted(set(intent.methods))),
        budget=intent.budget,
        base_ms=intent.back_off.base,
        max_ms=intent.back_off.max,
    )


def _breaker(intent: BreakerIntent | None) -> CircuitBreaker | None:
    if intent is None:
        return None
    return CircuitBreaker(intent.connections or 0, intent.pending or 0, intent.requests or 0, intent.retries or 0)


def _outliers(intent: OutlierIntent | None) -> OutlierDetection | None:
    if intent is None:
        return None
    return OutlierDetection(
        consecutive_errors=intent.consecutive_errors or 0,
        consecutive_gateway_errors=intent.consecutive_gateway_errors or 0,
        success_rate=_rate(intent.success_rate),
        interval_ms=intent.interval,
        base_ms=intent.base_time,
        max_ms=intent.max_time,
        max_ejected=intent.max_ejected,
    )


def _rate(intent: RateIntent | None) -> SuccessRate | None:
    if intent is None:
        return None
    return SuccessRate(round(intent.deviations * 1_000), intent.instances, intent.requests)


def _of_breaker(document: Document, breaker: BreakerIntent, retries: RetryIntent | None) -> Iterator[Finding]:
    here = (*_HERE, "circuitBreaker")
    if breaker.requests is not None and breaker.pending is not None and breaker.pending > breaker.requests:
        yield document.finding(
            "PD1226",
            f"{breaker.pending} requests may wait, but only {breaker.requests} may be under way",
            *here,
            "pending",
            hint="a request that waits is under way, too: `pending` is at most `requests`",
        )
    if breaker.requests is not None and breaker.connections is not None and breaker.connections > breaker.requests:
        yield document.finding(
            "PD1226",
            f"{breaker.connections} connections are never open for {breaker.requests} requests at once",
            *here,
            "connections",
            hint="`connections` is at most `requests`",
        )
    if breaker.retries is None:
        return
    if retries is None or not retries.attempts:
        yield document.finding(
            "PD1226",
            "further tries are bounded, and nothing is ever tried again",
            *here,
            "retries",
            hint="for example `retries: {attempts: 2}`",
        )
    elif "budget" in retries.model_fields_set:
        yield document.finding(
            "PD1226",
            "further tries are bounded twice, by a number and by `retries.budget`",
            *here,
            "retries",
            hint="keep the budget, which grows with the traffic, or the number",
        )


def _of_outliers(document: Document, outliers: OutlierIntent) -> Iterator[Finding]:
    here = (*_HERE, "outlierDetection")
    if outliers.max_time < outliers.base_time:
        yield document.finding(
            "PD1227",
            "an instance would be left out longer the first time than it may ever be",
            *here,
            "maxTime" if "max_time" in outliers.model_fields_set else "baseTime",
            hint="`maxTime`, 5m unless you say so, is at least `baseTime`",
        )
    fails_over = bool(cast("ServiceIntent", document.intent).spec.failover)
    if outliers.max_ejected == WHOLE and not fails_over:
        yield document.finding(
            "PD1227",
            "every instance may be left out at the same time, and nobody would answer",
            *here,
            "maxEjected",
            hint="50% is a good start; with `failover` others would answer",
        )
    row, gateway = outliers.consecutive_errors, outliers.consecutive_gateway_errors
    if row is not None and gateway is not None and gateway >= row:
        yield document.finding(
            "PD1227",
            f"{gateway} gateway errors in a row never come before {row} errors in a row",
            *here,
            "consecutiveGatewayErrors",
            hint="a gateway error is an error, too: `consecutiveGatewayErrors` is below `consecutiveErrors`",
        )


def _without_effect(document: Document, outliers: OutlierIntent) -> Iterator[Finding]:
    """Warnings about the version that should serve; versions on their way have few instances for a reason."""
    spec = cast("ServiceIntent", document.intent).spec
    serving = spec.versions.get(spec.version)
    instances = len(serving.endpoints) if serving is not None else 0
    if not instances:
        return
    here = (*_HERE, "outlierDetection")
    if instances * (outliers.max_ejected // 100) < 100:
        least = -(-100 // instances)
        yield document.finding(
            "PD1228",
            f"{outliers.max_ejected / 100:g}% of the {instances} instances of `{spec.version}` is less than one: "
            "none is ever left out"
            if instances > 1
            else f"`{spec.version}` has one instance, which is never left out",
            *here,
            *(("maxEjected",) if "max_ejected" in outliers.model_fields_set else ()),
            hint=f"`maxEjected: {least}%` is one of them" if instances > 1 else "give it a second instance",
            severity=Severity.WARNING,
            at_key="max_ejected" not in outliers.model_fields_set,
        )
    rate = outliers.success_rate
    if rate is not None and instances < rate.instances:
        yield document.finding(
            "PD1228",
            f"success rates are compared among {rate.instances} instances, and `{spec.version}` has {instances}",
            *here,
            "successRate",
            hint="`successRate: {instances: 3}` is the least that can be compared",
            severity=Severity.WARNING,
        )
