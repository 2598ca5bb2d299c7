"""A release: one try of taking one change along its way. The value that the driver keeps and the store remembers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from policyd.model.service import WHOLE, Service
from policyd.plan.change import Change, Position, Unit, WeightStage
from policyd.plan.describe import describe_stage
from policyd.rollout import analysis, gates
from policyd.rollout.machine import Decision, State, Verdict
from policyd.rollout.record import Evidence, Phase, ReleaseRecord
from policyd.rollout.way import Way


@dataclass(frozen=True, slots=True)
class Release:
    """One try. `number` rises with every try of any change; `audience` is as in `Observation`."""

    number: int
    change: Change
    way: Way
    commit: str
    author: str
    began: datetime
    since: datetime
    state: State = field(default_factory=State)
    decision: Decision = Decision(Verdict.CONTINUE, "")
    blocked_by: tuple[str, ...] = ()
    audience: int = 0
    known_good: bool = False
    replaced: bool = False
    """Aborted, and Git has asked for something else since: it no longer explains what differs from Git."""

    @property
    def id(self) -> str:
        """What people type: `r7`."""
        return f"r{self.number}"

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        return self.state.phase

    def position(self) -> Position | None:
        """What `plan.effective` lays over the promoted mesh; `None` once it lays nothing."""
        if self.phase.over:
            return None
        forward = self.phase.in_flight and self.phase is not Phase.ABORTING and self.state.stage >= 0
        return Position(self.change, self.way.stages[self.state.stage] if forward else None)

    def moved(self, state: State, decision: Decision, at: datetime) -> Release:
        """The release after a step; `since` is kept while phase and stage are."""
        same = (state.phase, state.stage) == (self.state.phase, self.state.stage)
        return replace(self, state=state, decision=decision, since=self.since if same else at)

    def superseded(self, at: datetime) -> Release:
        """The release once Git asks for something else: it ends, or stays the aborted one that it was."""
        if self.phase.over:
            return replace(self, replaced=True)
        state = replace(self.state, phase=Phase.SUPERSEDED)
        return self.moved(state, Decision(Verdict.ABORT, "Git asks for something else now"), at)


def title_of(change: Change) -> str:
    """A change in one line: `shop/checkout v1 -> v2`."""
    base, target = change.base, change.target
    if base is None or target is None:
        what = "access to " if change.unit is Unit.ACCESS else ""
        return f"{'add' if base is None else 'remove'} {what}{change.name}"
    if isinstance(base, Service) and isinstance(target, Service):
        if base.serving != target.serving:
            return f"{change.name} {base.serving} -> {target.serving}"
        return f"{change.name} changed"
    return "mesh settings" if change.unit is Unit.SETTINGS else f"access to {change.name}"


def record_of(release: Release) -> ReleaseRecord:
    """The release as others see it."""
    stage, stages = release.state.stage, release.way.stages
    at_stage = 0 <= stage < len(stages) and release.phase.in_flight
    return ReleaseRecord(
        id=release.id,
        change_id=release.change.id,
        unit=release.change.unit.value,
        name=str(release.change.name),
        title=title_of(release.change),
        commit=release.commit,
        author=release.author,
        phase=release.phase,
        stage=stage + 1,
        stages=len(stages),
        stage_text=describe_stage(stages[stage]) if at_stage else release.phase.value,
        weights=weights_of(release),
        since=release.since.isoformat(),
        began=release.began.isoformat(),
        verdict=release.decision.verdict.value if release.decision.reason else "",
        reason=release.decision.reason or release.state.quarantine,  # born aborted: there was no decision
        evidence=evidence_of(release),
        needs=tuple(f"{unit.value} {name}" for unit, name in release.change.needs),
        blocked_by=release.blocked_by,
        quarantine=release.state.quarantine,
        known_good=release.known_good,
    )


def weights_of(release: Release) -> dict[str, int]:
    """Version to basis points as its callers split now; empty where the change moves no weights."""
    base, target = release.change.base, release.change.target
    if not (isinstance(base, Service) and isinstance(target, Service)) or base.serving == target.serving:
        return {}
    if release.phase is Phase.PROMOTED:
        return {target.serving: WHOLE}
    position = release.position()
    stage = position.stage if position is not None else None
    weight = stage.weight if isinstance(stage, WeightStage) else 0
    return {base.serving: WHOLE - weight, target.serving: weight}


def evidence_of(release: Release) -> Evidence:
    """The counts and figures that the last decision rests on."""
    state, way = release.state, release.way
    at_stage = 0 <= state.stage < len(way.stages)
    enough = way.requests_at(state.stage) if at_stage and release.audience else 0
    requests, seconds = gates.needed(state.seen, way.gates, enough, way.hold_s) if at_stage else (0, None)
    burn = gates.worst(state.seen, way.gates)
    return Evidence(
        canary_requests=state.seen.canary_requests,
        canary_errors=state.seen.canary_errors,
        stable_requests=state.seen.stable_requests,
        stable_errors=state.seen.stable_errors,
        e_value=analysis.e_value(state.evidence),
        e_limit=analysis.LIMIT,
        slo=str(burn.gate.slo) if burn is not None else "",
        burn=burn.rate if burn is not None else 0.0,
        ran_s=state.ran_s,
        requests_needed=requests,
        seconds_needed=seconds,
    )
