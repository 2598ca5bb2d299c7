"""OpenSLO v1 `SLO` and `SLI`, as published, with one metric source of our own.

Source: the OpenSLO specification, v1 (SLO, SLI, AlertPolicy, AlertCondition). `metricSource.type: policyd` reads
the proxies; every other type is kept for reports and cannot gate a release until its source is configured.
OpenSLO has no namespaces and owners: the annotations `policyd.dev/namespace` and `policyd.dev/owner` carry them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from policyd.intents.kind import Many, Part
from policyd.intents.units import Label, Milliseconds, OpensloSeconds, Reference, label, unreadable
from policyd.model.names import DEFAULT_NAMESPACE, Name

NAMESPACE = "policyd.dev/namespace"
OWNER = "policyd.dev/owner"
SOURCE = "policyd"

Description = Annotated[str, Field(max_length=1_050)]


class OpensloMetadata(Part):
    """What the object is called."""

    unknown_hints: ClassVar[Mapping[str, str]] = {
        "namespace": f"OpenSLO has no namespaces: write `annotations: {{{NAMESPACE}: ...}}`",
        "owner": f"OpenSLO has no owners: write `annotations: {{{OWNER}: ...}}`",
    }

    name: Label
    """The name, unique among its kind: a DNS label."""
    display_name: str = ""
    """A name for people."""
    labels: Mapping[str, str | Many[str]] = Field(default_factory=dict)
    """Free labels."""
    annotations: Mapping[str, str] = Field(default_factory=dict)
    """`policyd.dev/namespace` and `policyd.dev/owner` say where it belongs and who answers for it."""

    @model_validator(mode="after")
    def _namespace_is_a_label(self) -> OpensloMetadata:
        if NAMESPACE in self.annotations:
            label(self.annotations[NAMESPACE])
        return self


class OpensloIntent(Part):
    """One OpenSLO document."""

    api_version: Literal["openslo/v1"]
    kind: str
    """What kind of object this is."""
    metadata: OpensloMetadata
    """What the object is called."""

    @property
    def name(self) -> Name:
        """Namespace and name."""
        return Name(self.metadata.annotations.get(NAMESPACE, DEFAULT_NAMESPACE), self.metadata.name)

    @property
    def owner(self) -> str:
        """Who answers for it; empty when nobody is named."""
        return self.metadata.annotations.get(OWNER, "")


class ProxyMetric(Part):
    """What `metricSource.type: policyd` reads from the proxies."""

    service: Reference
    """The service whose callers' proxies are read."""
    good: Literal["non-5xx"] | None = None
    """`non-5xx`: answers below 500; of gRPC, statuses that mean no fault of the server."""
    bad: Literal["5xx"] | None = None
    """`5xx`: answers of 500 and above; of gRPC, statuses such as `UNAVAILABLE` and `INTERNAL`."""
    threshold: Milliseconds | None = None
    """Answers within this time, for example `300ms`."""


class ProxySource(Part):
    """`type: policyd`: the proxies themselves."""

    type: Literal["policyd"]
    """Reads the proxies."""
    metric_source_ref: str | None = None
    """Not needed: there is nothing to connect to."""
    spec: ProxyMetric
    """What to read."""


class ForeignSource(Part):
    """A metric source that is somebody else's."""

    metric_source_ref: str | None = None
    """The name of a `DataSource`."""
    type: str | None = None
    """`policyd` reads the proxies; any other type is somebody else's."""
    spec: Mapping[str, Any] = Field(default_factory=dict)
    """Whatever that source needs, for example `{query: ...}`."""

    @model_validator(mode="after")
    def _says_what_it_is(self) -> ForeignSource:
        if self.type is None and self.metric_source_ref is None:
            raise unreadable(
                "a metric source needs a `type` or a `metricSourceRef`",
                hint="`type: policyd` reads the proxies",
                code="PD1104",
            )
        return self


def _whose(value: object) -> str:
    return SOURCE if isinstance(value, dict) and value.get("type") == SOURCE else "other"


class Metric(Part):
    """One metric."""

    metric_source: Annotated[
        Annotated[ProxySource, Tag("policyd")] | Annotated[ForeignSource, Tag("other")], Discriminator(_whose)
    ]
    """Where it comes from; `{type: policyd, spec: {service: checkout, good: non-5xx}}` reads the proxies."""


class RatioMetric(Part):
    """Good or bad events of all events."""

    counter: bool = True
    """Whether the metrics only ever grow."""
    good: Metric | None = None
    """The events that are good. Either this or `bad`."""
    bad: Metric | None = None
    """The events that are bad. Either this or `good`."""
    total: Metric | None = None
    """All events."""
    raw_type: Literal["success", "failure"] | None = None
    """What the ratio in `raw` counts."""
    raw: Metric | None = None
    """A ratio that is stored as such."""

    @model_validator(mode="after")
    def _one_shape(self) -> RatioMetric:
        numerators = sum(metric is not None for metric in (self.good, self.bad, self.raw))
        if numerators != 1:
            raise unreadable("a ratio is of one of `good`, `bad` and `raw`", code="PD1111")
        if self.raw is not None and (self.total is not None or self.raw_type is None):
            raise unreadable("`raw` needs `rawType` and stands without `total`", code="PD1111")
        if self.raw is None and self.total is None:
            raise unreadable("a ratio of `good` or `bad` needs `total`", code="PD1104")
        return self


class IndicatorSpec(Part):
    """What is measured."""

    description: Description = ""
    """For people."""
    threshold_metric: Metric | None = None
    """A value that each objective compares with its own. Either this or `ratioMetric`."""
    ratio_metric: RatioMetric | None = None
    """Good or bad events of all events. Either this or `thresholdMetric`."""

    @model_validator(mode="after")
    def _one_metric(self) -> IndicatorSpec:
        if (self.threshold_metric is None) == (self.ratio_metric is None):
            raise unreadable("an indicator is either a `ratioMetric` or a `thresholdMetric`", code="PD1111")
        return self


class InlineIndicator(Part):
    """An indicator inside an SLO."""

    metadata: OpensloMetadata | None = None
    """What it is called."""
    spec: IndicatorSpec
    """What is measured."""


class Calendar(Part):
    """Where a window that follows the calendar begins."""

    start_time: str
    """For example `2027-01-01 00:00:00`."""
    time_zone: str
    """For example `Europe/Berlin`."""


class TimeWindow(Part):
    """The time over which the objective holds."""

    duration: OpensloSeconds
    """For example `30d`."""
    is_rolling: bool = False
    """Whether the window moves with the time."""
    calendar: Calendar | None = None
    """Where a window that follows the calendar begins."""


class Objective(Part):
    """One target."""

    display_name: str = ""
    """For people."""
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    """How a `thresholdMetric` is compared with `value`."""
    value: float | None = None
    """What a `thresholdMetric` is compared with."""
    target: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of events that must be good, such as `0.999`. Either this or `targetPercent`."""
    target_percent: Annotated[float, Field(gt=0, lt=100)] | None = None
    """The same in per cent, such as `99.9`."""
    time_slice_target: Annotated[float, Field(ge=0, le=1)] | None = None
    """For `budgetingMethod: Timeslices`."""
    time_slice_window: OpensloSeconds | None = None
    """For `budgetingMethod: Timeslices`."""

    @model_validator(mode="after")
    def _one_target(self) -> Objective:
        if (self.target is None) == (self.target_percent is None):
            raise unreadable("an objective has either a `target` or a `targetPercent`", code="PD1111")
        return self


class Condition(Part):
    """When an alert fires."""

    kind: Literal["burnrate"] = "burnrate"
    """`burnrate`: the error budget is spent too fast."""
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    """How the burn rate is compared; above, unless you say otherwise."""
    threshold: Annotated[float, Field(gt=0)]
    """The factor: 14.4 spends 2 % of a 30-day budget in an hour."""
    lookback_window: OpensloSeconds
    """The time over which the burn is measured, for example `1h`."""
    alert_after: OpensloSeconds = 0
    """How long it must burn before the alert, for example `5m`."""


class AlertConditionSpec(Part):
    """When an alert fires, and how loudly."""

    description: Description = ""
    """For people."""
    severity: str
    """For example `page` or `ticket`."""
    condition: Condition
    """When it fires."""


class AlertCondition(Part):
    """An alert condition inside a policy."""

    unknown_hints: ClassVar[Mapping[str, str]] = {"conditionRef": "write the condition here, inline"}

    kind: Literal["AlertCondition"] = "AlertCondition"
    """Always `AlertCondition`."""
    metadata: OpensloMetadata
    """What it is called."""
    spec: AlertConditionSpec
    """When it fires, and how loudly."""


class AlertPolicySpec(Part):
    """When somebody is told."""

    description: Description = ""
    """For people."""
    alert_when_no_data: bool = False
    """Tell when there is no data."""
    alert_when_resolved: bool = False
    """Tell when it is over."""
    alert_when_breaching: bool = True
    """Tell when it burns."""
    conditions: Annotated[Many[AlertCondition], Field(min_length=1, max_length=1)]
    """The condition; OpenSLO allows exactly one."""
    notification_targets: Many[Mapping[str, Any]] = ()
    """Who is told. Delivering alerts is your alert manager's work; policyd only keeps this."""


class AlertPolicy(Part):
    """An alert policy inside an SLO."""

    unknown_hints: ClassVar[Mapping[str, str]] = {"alertPolicyRef": "write the policy here, inline"}

    kind: Literal["AlertPolicy"] = "AlertPolicy"
    """Always `AlertPolicy`."""
    metadata: OpensloMetadata
    """What it is called."""
    spec: AlertPolicySpec
    """When somebody is told."""


class SloSpec(Part):
    """The promise."""

    description: Description = ""
    """For people."""
    service: Reference
    """The service that promises; it must be in the SLO's own namespace."""
    indicator: InlineIndicator | None = None
    """What is measured. Either this or `indicatorRef`."""
    indicator_ref: Reference | None = None
    """The name of an `SLI`. Either this or `indicator`."""
    time_window: Annotated[Many[TimeWindow], Field(min_length=1, max_length=1)] = (
        TimeWindow.model_construct(duration=2_592_000, is_rolling=True),
    )
    """The time over which the objective holds: exactly one, `[{duration: 30d, isRolling: true}]`."""
    budgeting_method: Literal["Occurrences", "Timeslices"]
    """`Occurrences` counts events. `Timeslices` counts slices of time and cannot gate a release."""
    objectives: Annotated[Many[Objective], Field(min_length=1)]
    """The target."""
    alert_policies: Many[AlertPolicy] = ()
    """When somebody is told. The standard burn-rate alerts, unless you say otherwise."""

    @model_validator(mode="after")
    def _one_indicator(self) -> SloSpec:
        if (self.indicator is None) == (self.indicator_ref is None):
            raise unreadable("an SLO has either an `indicator` or an `indicatorRef`", code="PD1111")
        return self


class Slo(OpensloIntent):
    """A service level objective: how many events must be good over a window."""

    kind: Literal["SLO"]
    spec: SloSpec


class Sli(OpensloIntent):
    """A service level indicator: what is measured, for several SLOs to refer to."""

    kind: Literal["SLI"]
    spec: IndicatorSpec
