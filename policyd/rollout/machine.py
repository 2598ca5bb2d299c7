"""The release machine: one pure step per tick, from a state and an observation to a state and a decision.

The order is the same in every phase, waiting ones too: first what has been seen is added up, then everything that
can send a release *back* is asked (a person, a refusing proxy, the evidence), and only then whether it may go
forward. Whatever keeps it from going forward is a hold with words, and no hold is longer than the way's deadline.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from policyd.delivery.outcome import Refusal
from policyd.model.release import OnFailure, OnInconclusive
from policyd.rollout import analysis
from policyd.rollout.gates import Tally, burning, obstacle, tally
from policyd.rollout.record import Phase
from policyd.rollout.way import Way
from policyd.telemetry.counters import Outcomes
from policyd.telemetry.windows import Stratum


class Verdict(enum.StrEnum):
    """What to do now."""

    CONTINUE = "continue"
    """Stay; nothing is wrong, the time is not up."""
    PROMOTE = "promote"
    """Take the next step forward."""
    ABORT = "abort"
    """Take every node back to the base."""
    HOLD = "hold"
    """Stay, because something that must be known or mended is not."""


class Command(enum.StrEnum):
    """What a person can ask of a release."""

    PROMOTE = "promote"
    """Take the next step without waiting for the rest of this one."""
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class State:
    """All that a release remembers between ticks. `stage` is an index into the way, -1 before the first."""

    phase: Phase = Phase.PENDING
    stage: int = -1
    ran_s: float = 0.0
    """Time at this stage, without pauses; what the deadline is measured in."""
    seen: Tally = Tally()
    """What was watched at this stage; its `watched_s` is what the hold is measured in."""
    evidence: analysis.Evidence = analysis.START
    """Of the whole release: the test stays valid across stages."""
    quarantine: str = ""
    proven: tuple[str, ...] = ()
    """Versions of proxies of which at least one has acknowledged the change, sorted."""
    refused: tuple[str, ...] = ()
    """Nodes that have refused it so far, sorted."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one tick brought. `strata` is `None` where no proxy that could tell was read: no data is a hold.

    `settled` is false in a tick in which a weight or a membership changed: it is dropped, in both arms.
    `gates` are the outcomes for each of the way's gates. `audience` is how many proxies could call the target.
    """

    elapsed_s: float = 0.0
    settled: bool = True
    strata: tuple[Stratum, ...] | None = ()
    silent: tuple[str, ...] = ()
    """Nodes that could tell and were not read."""
    gates: tuple[Outcomes, ...] = ()
    audience: int = 1
    command: Command | None = None
    blocked_by: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    """What nodes said who refused the change and were well before."""
    proven: frozenset[str] = frozenset()
    """Versions of proxies of which at least one acknowledged it."""
    faults: tuple[str, ...] = ()
    """What policyd itself found wrong with the configuration, so that it was not sent."""
    known_good: bool = False
    frozen: str = ""
    """Why no step forward may be taken now, whatever else is true; going back is never frozen."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict and why, in words."""

    verdict: Verdict
    reason: str


Outcome = tuple[State, Decision]

_NAMED = 3
"""So many nodes are named in a reason; the rest are counted."""


def decide(state: State, seen: Observation, way: Way) -> Outcome:
    """One step. A release that is over, or on its way back, stays what it is."""
    if state.phase.over or state.phase is Phase.ABORTING:
        return state, Decision(Verdict.CONTINUE, state.phase.value)
    state = _absorb(heard(state, seen), seen, way)
    after, decision = _back(state, seen, way) or _asked(state, seen, way) or _by_phase(state, seen, way)
    if decision.verdict is Verdict.PROMOTE and seen.frozen:
        return state, Decision(Verdict.HOLD, seen.frozen)
    return after, decision


def heard(state: State, seen: Observation) -> State:
    """The state with what the proxies answered."""
    if not (seen.proven or seen.refused):
        return state
    return replace(
        state,
        proven=tuple(sorted({*state.proven, *seen.proven})),
        refused=tuple(sorted({*state.refused, *(refusal.node_id for refusal in seen.refused)})),
    )


def objection(state: State, seen: Observation, way: Way) -> str:
    """Why what the proxies answered sends the change back, given what was `heard`; empty where it does not.

    A version of the proxy that has never taken the change may never take it: its first node decides for all of its
    kind. Where others of its kind did take it, the node itself has a problem, and `max_refused` may have one.
    """
    if seen.faults:
        return "; ".join(seen.faults)
    said = "; ".join(str(refusal) for refusal in seen.refused)
    unproven = sorted({refusal.proxy or "proxy" for refusal in seen.refused if refusal.proxy not in state.proven})
    if unproven:
        return f"{said} (no {', no '.join(unproven)} has taken it)"
    if seen.refused and len(state.refused) > way.max_refused:
        return f"{said} ({len(state.refused)} refused, {way.max_refused} may)"
    return ""


def finished(state: State) -> State:
    """The state once every node has what `PROMOTING` or `ABORTING` asked for."""
    ends = {Phase.PROMOTING: Phase.PROMOTED, Phase.ABORTING: Phase.ABORTED}
    return replace(state, phase=ends.get(state.phase, state.phase))


def _absorb(state: State, seen: Observation, way: Way) -> State:
    """Add up what the tick brought; paused time runs no clock, but what is seen in it is evidence all the same."""
    if state.phase in {Phase.PENDING, Phase.WAITING}:
        return state
    running = state.phase is not Phase.PAUSED
    state = replace(state, ran_s=state.ran_s + (seen.elapsed_s if running else 0.0))
    if seen.strata is None or not seen.settled:
        return state
    counts = (
        analysis.Counts(s.canary.requests, s.canary.errors, s.stable.requests, s.stable.errors) for s in seen.strata
    )
    return replace(
        state,
        seen=tally(state.seen, seen.strata, seen.gates, way.gates, seen.elapsed_s if running else 0.0),
        evidence=analysis.update(state.evidence, counts),
    )


def _back(state: State, seen: Observation, way: Way) -> Outcome | None:
    """The abort gate."""
    if seen.command is Command.ABORT:
        return _abort(state, "a person aborted it", quarantine=True)
    refused = objection(state, seen, way)
    if refused:
        return _abort(state, refused, quarantine=True)
    if analysis.rejects(state.evidence) and way.on_failure is OnFailure.ABORT:
        return _abort(state, _worse(state), quarantine=True)
    return None


def _asked(state: State, seen: Observation, way: Way) -> Outcome | None:
    """What a person asked for, where the phase allows it."""
    match seen.command, state.phase:
        case Command.PAUSE, Phase.PROGRESSING:
            return replace(state, phase=Phase.PAUSED), Decision(Verdict.HOLD, "a person paused it")
        case Command.RESUME, Phase.PAUSED:
            return replace(state, phase=Phase.PROGRESSING), Decision(Verdict.CONTINUE, "a person resumed it")
        case Command.PROMOTE, (Phase.PROGRESSING | Phase.PAUSED):
            return _forward(state, way, "a person sent it on")
        case _:
            return None


def _by_phase(state: State, seen: Observation, way: Way) -> Outcome:
    match state.phase:
        case Phase.PENDING | Phase.WAITING:
            return _begin(state, seen, way)
        case Phase.PAUSED:
            return state, Decision(Verdict.HOLD, "paused by a person")
        case Phase.PROMOTING:
            return state, Decision(Verdict.CONTINUE, "being made the promoted value everywhere")
        case _:
            return _watch(state, seen, way)


def _begin(state: State, seen: Observation, way: Way) -> Outcome:
    if seen.blocked_by:
        reason = "blocked by " + ", ".join(f"`{name}`" for name in seen.blocked_by)
        return replace(state, phase=Phase.WAITING), Decision(Verdict.HOLD, reason)
    if seen.known_good:
        done = replace(state, phase=Phase.PROMOTING, stage=len(way.stages) - 1)
        return done, Decision(Verdict.PROMOTE, "known good: this content was whole before")
    return _forward(state, way, "begins")


def _watch(state: State, seen: Observation, way: Way) -> Outcome:
    """On a stage, with nothing that sends it back: go on, unless something keeps it here."""
    if seen.strata is None:
        held = f"no metrics: no proxy that could tell was read{_named(seen.silent)}"
    elif state.seen.watched_s < way.hold_s:
        return _wait_or_conclude(
            state, way, Decision(Verdict.CONTINUE, f"{state.seen.watched_s:.0f} of {way.hold_s:.0f} s at this stage")
        )
    elif analysis.rejects(state.evidence):
        held = _worse(state)
    else:
        enough = way.requests_at(state.stage) if seen.audience else 0
        held = obstacle(state.seen, way.gates, enough)
    if not held:
        return _forward(state, way, "held long enough, nothing against it")
    return _wait_or_conclude(state, way, Decision(Verdict.HOLD, held))


def _wait_or_conclude(state: State, way: Way, waiting: Decision) -> Outcome:
    """Stay, unless the deadline has passed: then `onInconclusive` decides, and never in favour of what fails."""
    if state.ran_s < way.limit_s:
        return state, waiting
    reason = f"no verdict within {way.limit_s:.0f} s: {waiting.reason}"
    failing = analysis.rejects(state.evidence) or burning(state.seen, way.gates) is not None
    if way.on_inconclusive is OnInconclusive.HOLD:
        return state, Decision(Verdict.HOLD, reason)
    if way.on_inconclusive is OnInconclusive.PROMOTE and not failing:
        return _forward(state, way, reason)
    return _abort(state, reason, quarantine=False)


def _forward(state: State, way: Way, reason: str) -> Outcome:
    """Enter the next stage with clean counts; after the last one, make the target the promoted value."""
    if state.stage + 1 >= len(way.stages):
        return replace(state, phase=Phase.PROMOTING), Decision(Verdict.PROMOTE, reason)
    entered = replace(state, phase=Phase.PROGRESSING, stage=state.stage + 1, ran_s=0.0, seen=Tally())
    return entered, Decision(Verdict.PROMOTE, reason)


def _abort(state: State, reason: str, *, quarantine: bool) -> Outcome:
    back = replace(state, phase=Phase.ABORTING, quarantine=reason if quarantine else "")
    return back, Decision(Verdict.ABORT, reason)


def _named(nodes: tuple[str, ...]) -> str:
    if not nodes:
        return ""
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f" ({', '.join(f'`{node}`' for node in nodes[:_NAMED])}{more})"


def _worse(state: State) -> str:
    seen = state.seen
    return (
        f"{seen.canary_errors} of {seen.canary_requests} requests failed, "
        f"against {seen.stable_errors} of {seen.stable_requests} without the change "
        f"(e-value {analysis.e_value(state.evidence):.4g}, limit {analysis.LIMIT:.0f})"
    )
