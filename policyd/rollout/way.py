"""The way of one release: its stages, and what it must show at each of them before it may go on.

Made once, when the release begins, from what the head of Git says then; a later edit of the strategy holds for the
next release, so that nobody moves the posts of one in flight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from policyd.model.mesh import Releases
from policyd.model.names import Name
from policyd.model.release import OnFailure, OnInconclusive
from policyd.model.slo import Availability, Latency, Slo
from policyd.plan.change import Change, Stage, Unit, WeightStage

BURN_LIMIT = 6.0
"""How many times faster than its budget allows a canary may use up an SLO and still go forward.

The slower of the two paging burn rates of the Google SRE Workbook (chapter 5, table 5-8: 14.4 and 6): no step is
taken while the canary, had it all the traffic, would wake somebody. A larger limit lets pageable canaries pass; at
1 a single error among the first requests of a 99.9 % service would hold every release for a thousand more.
"""
HALF = 0.5
"""For loose objectives, where `BURN_LIMIT` budgets are more than everything: never more than half may be bad."""


@dataclass(frozen=True, slots=True)
class Gate:
    """An SLO that is looked at before each forward step. `threshold_ms` 0 means availability."""

    slo: Name
    service: Name
    budget: float
    threshold_ms: int = 0

    @property
    def tolerated(self) -> float:
        """The share of bad events above which no forward step is taken."""
        return min(BURN_LIMIT * self.budget, HALF)


@dataclass(frozen=True, slots=True)
class Way:
    """Stages in order, and the conditions of a step. Times are seconds of running (not paused) time."""

    stages: tuple[Stage, ...]
    hold_s: float
    """Least time at each stage, counted only while metrics are read."""
    deadline_s: float
    """How long, after the hold, a stage may stay without a verdict; from then on `on_inconclusive` decides."""
    min_requests: int = 0
    """Least number of requests to the new version at each stage that gives it a weight."""
    gates: tuple[Gate, ...] = ()
    on_failure: OnFailure = OnFailure.ABORT
    on_inconclusive: OnInconclusive = OnInconclusive.ABORT
    max_refused: int = 0
    """How many proxies may refuse the change; one more sends it back."""

    @property
    def limit_s(self) -> float:
        """Running time after which a stage ends without a verdict: its hold, then the deadline."""
        return self.hold_s + self.deadline_s

    def requests_at(self, stage: int) -> int:
        """The least number of requests at a stage; none in waves, or where only callers with the header come."""
        at = self.stages[stage]
        return self.min_requests if isinstance(at, WeightStage) and not at.first_only else 0


def way_of(change: Change, stages: tuple[Stage, ...], releases: Releases) -> Way:
    """How `change` is taken: by its service's canary plan where it moves weights, else by the mesh's strategy."""
    plan = releases.canaries.get(change.name) if any(isinstance(stage, WeightStage) for stage in stages) else None
    if plan is not None:
        return Way(
            stages=stages,
            hold_s=plan.hold_s,
            deadline_s=plan.deadline_s,
            min_requests=plan.min_requests,
            gates=_named(plan.gates, releases),
            on_failure=plan.on_failure,
            on_inconclusive=plan.on_inconclusive,
            max_refused=plan.max_refused,
        )
    strategy = releases.strategy
    return Way(
        stages=stages,
        hold_s=strategy.hold_s,
        deadline_s=strategy.deadline_s,
        gates=_named(strategy.gates, releases) if strategy.gates else _touched(change, releases),
        on_failure=strategy.on_failure,
        on_inconclusive=strategy.on_inconclusive,
        max_refused=strategy.max_refused,
    )


def _named(names: Iterable[Name], releases: Releases) -> tuple[Gate, ...]:
    return _gates(releases.slos[name] for name in names if name in releases.slos)


def _touched(change: Change, releases: Releases) -> tuple[Gate, ...]:
    everything = change.unit is Unit.SETTINGS
    return _gates(slo for slo in releases.slos.values() if everything or slo.service == change.name)


def _gates(slos: Iterable[Slo]) -> tuple[Gate, ...]:
    gates: list[Gate] = []
    for slo in slos:
        match slo.indicator:
            case Availability():
                gates.append(Gate(slo.name, slo.service, slo.budget))
            case Latency(threshold_ms=threshold_ms):
                gates.append(Gate(slo.name, slo.service, slo.budget, threshold_ms))
            case _:
                pass  # measured by a source that the proxies are not; it cannot gate yet
    return tuple(gates)
