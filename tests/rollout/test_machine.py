"""The machine by examples: one row of the rules each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.delivery.outcome import Refusal
from policyd.delivery.resource_types import LISTENER
from policyd.model.names import Name
from policyd.model.release import OnFailure, OnInconclusive
from policyd.plan.change import WaveStage, WeightStage
from policyd.rollout.gates import Tally
from policyd.rollout.machine import Command, Observation, State, Verdict, decide, finished
from policyd.rollout.record import Phase
from policyd.rollout.way import Gate, Way
from policyd.telemetry.counters import Outcomes
from policyd.telemetry.windows import Stratum

CHECKOUT = Name("default", "checkout")
WEB = Name("default", "web")
WAY = Way(
    stages=(WeightStage(500), WeightStage(5_000), WeightStage(10_000)),
    hold_s=10.0,
    deadline_s=30.0,
    min_requests=20,
    gates=(Gate(Name("default", "checkout-availability"), CHECKOUT, 0.001),),
)


NEW = "envoy 1.40.0"


def refusal(node: str, proxy: str = NEW) -> Refusal:
    return Refusal(node, "d", LISTENER, ("in",), "cannot bind", proxy)


def tick(n_c: int, k_c: int = 0, n_b: int = 95, k_b: int = 0, seconds: float = 1.0) -> Observation:
    canary, stable = Outcomes(n_c, k_c), Outcomes(n_b, k_b)
    return Observation(elapsed_s=seconds, strata=(Stratum(WEB, canary, stable),), gates=(canary,))


def at_stage(stage: int = 0, phase: Phase = Phase.PROGRESSING) -> State:
    return State(phase=phase, stage=stage)


def run(state: State, seen: Observation, times: int, way: Way = WAY) -> tuple[State, Verdict, str]:
    verdict, reason = Verdict.CONTINUE, ""
    for _ in range(times):
        state, decision = decide(state, seen, way)
        verdict, reason = decision.verdict, decision.reason
        if verdict in {Verdict.PROMOTE, Verdict.ABORT}:
            break
    return state, verdict, reason


def test_a_healthy_canary_climbs_stage_by_stage_and_never_early() -> None:
    state, decision = decide(State(), Observation(), WAY)
    assert (state.phase, state.stage, decision.verdict) == (Phase.PROGRESSING, 0, Verdict.PROMOTE)
    for stage in range(3):
        assert state.stage == stage
        state, verdict, _ = run(state, tick(5), 9)
        assert verdict is Verdict.CONTINUE
        state, verdict, _ = run(state, tick(5), 1)
        assert verdict is Verdict.PROMOTE
    assert state.phase is Phase.PROMOTING
    assert finished(state).phase is Phase.PROMOTED


def test_a_bad_canary_is_aborted_long_before_its_hold_is_over() -> None:
    state, verdict, reason = run(at_stage(), tick(5, 1), 9)
    assert verdict is Verdict.ABORT
    assert state.phase is Phase.ABORTING
    assert "e-value" in reason
    assert state.quarantine == reason
    assert finished(state).phase is Phase.ABORTED


def test_evidence_is_kept_from_stage_to_stage_but_counts_are_the_stage_s_own() -> None:
    state, _, _ = run(at_stage(), tick(5, 0, 95, 1), 10)
    assert state.stage == 1
    assert state.seen == Tally()
    assert any(state.evidence)


def test_too_few_requests_hold_until_the_deadline_and_then_abort_without_quarantine() -> None:
    state, verdict, reason = run(at_stage(), tick(1, seconds=1.0), 12)
    assert (verdict, reason) == (Verdict.HOLD, "12 of 20 requests seen at this stage")
    state, verdict, reason = run(at_stage(), tick(0), 100)
    assert verdict is Verdict.ABORT
    assert state.ran_s == WAY.hold_s + WAY.deadline_s
    assert state.quarantine == ""
    assert reason == "no verdict within 40 s: 0 of 20 requests seen at this stage"


@pytest.mark.parametrize(
    ("choice", "verdict"),
    [
        (OnInconclusive.ABORT, Verdict.ABORT),
        (OnInconclusive.HOLD, Verdict.HOLD),
        (OnInconclusive.PROMOTE, Verdict.PROMOTE),
    ],
)
def test_what_happens_without_a_verdict_is_the_user_s_choice(choice: OnInconclusive, verdict: Verdict) -> None:
    _, found, _ = run(at_stage(), tick(0), 60, replace(WAY, on_inconclusive=choice))
    assert found is verdict


def test_an_inconclusive_promotion_never_passes_a_burning_slo() -> None:
    way = replace(WAY, on_inconclusive=OnInconclusive.PROMOTE)
    # As bad as the baseline, so the comparison has nothing against it, but far outside of the objective.
    _, verdict, reason = run(at_stage(), tick(5, 1, 95, 19), 60, way)
    assert verdict is Verdict.ABORT
    assert "burns" in reason


def test_nobody_who_could_call_is_nobody_to_wait_for() -> None:
    seen = Observation(elapsed_s=1.0, strata=(), audience=0)
    _, verdict, _ = run(at_stage(), seen, 10)
    assert verdict is Verdict.PROMOTE


def test_no_metrics_is_neither_good_nor_bad() -> None:
    blind = Observation(elapsed_s=1.0, strata=None, silent=("web/a", "web/b", "web/c", "web/d"))
    state, verdict, reason = run(at_stage(), blind, 20)
    assert verdict is Verdict.HOLD
    assert reason == "no metrics: no proxy that could tell was read (`web/a`, `web/b`, `web/c` and 1 more)"
    assert state.seen.watched_s == 0.0
    # What was not watched does not count towards the hold either.
    _, verdict, _ = run(state, tick(50), 9)
    assert verdict is Verdict.CONTINUE
    state, verdict, _ = run(at_stage(), blind, 100)
    assert verdict is Verdict.ABORT
    assert state.quarantine == ""


def test_a_tick_in_which_weights_moved_is_dropped_in_both_arms() -> None:
    state, _ = decide(at_stage(), replace(tick(100, 100), settled=False), WAY)
    assert state.seen == Tally()
    assert not any(state.evidence)


def test_a_burning_slo_holds_the_step_until_it_is_diluted() -> None:
    # One error in 30: 33 times the budget of 0.1 %, while 0.6 % are tolerated.
    state, _ = decide(at_stage(), tick(30, 1, 0, 0, seconds=10.0), WAY)
    state, verdict, reason = run(state, tick(1, 0, 0, 0), 1)
    assert verdict is Verdict.HOLD
    assert (
        reason == "`default/checkout-availability` burns 32.3 times too fast: 1 of 31 events bad, 0.60% are tolerated"
    )
    _, verdict, _ = run(state, tick(136, 0, 0, 0), 1)
    assert verdict is Verdict.PROMOTE


def test_a_pause_stops_the_clocks_but_not_the_abort_gate() -> None:
    state, decision = decide(at_stage(), replace(tick(5), command=Command.PAUSE), WAY)
    assert (state.phase, decision.verdict) == (Phase.PAUSED, Verdict.HOLD)
    ran, watched = state.ran_s, state.seen.watched_s
    state, _, _ = run(state, tick(5), 1_000)
    assert (state.phase, state.ran_s, state.seen.watched_s) == (Phase.PAUSED, ran, watched)
    aborted, verdict, _ = run(state, tick(5, 3), 10)
    assert (aborted.phase, verdict) == (Phase.ABORTING, Verdict.ABORT)
    state, decision = decide(state, replace(tick(0), command=Command.RESUME), WAY)
    assert state.phase is Phase.PROGRESSING


def test_a_person_can_send_it_on_or_back() -> None:
    state, decision = decide(at_stage(), Observation(command=Command.PROMOTE), WAY)
    assert (state.stage, decision.verdict) == (1, Verdict.PROMOTE)
    for phase in (Phase.PENDING, Phase.WAITING, Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING):
        state, decision = decide(at_stage(0, phase), Observation(command=Command.ABORT), WAY)
        assert (state.phase, decision.verdict) == (Phase.ABORTING, Verdict.ABORT)
        assert state.quarantine


def test_a_person_cannot_send_on_what_the_evidence_is_against() -> None:
    state, _, _ = run(at_stage(), tick(1, 1, 19, 0), 2)
    state, decision = decide(state, replace(tick(20, 20), command=Command.PROMOTE), WAY)
    assert decision.verdict is Verdict.ABORT


def test_on_failure_hold_leaves_it_to_a_person() -> None:
    way = replace(WAY, on_failure=OnFailure.HOLD)
    state, verdict, reason = run(at_stage(), tick(5, 2), 20, way)
    assert verdict is Verdict.HOLD
    assert "e-value" in reason
    _, decision = decide(state, Observation(command=Command.PROMOTE), way)
    assert decision.verdict is Verdict.PROMOTE


def test_a_refusal_quarantines_unless_it_is_tolerated() -> None:
    seen = Observation(refused=(refusal("n1"),), proven=frozenset({NEW}))
    for phase in (Phase.PROGRESSING, Phase.PROMOTING):
        state, decision = decide(at_stage(0, phase), seen, WAY)
        assert decision.verdict is Verdict.ABORT
        assert state.quarantine == "`n1` refused Listener `in`: cannot bind (1 refused, 0 may)"
    tolerant = replace(WAY, max_refused=1)
    state, decision = decide(at_stage(), seen, tolerant)
    assert decision.verdict is not Verdict.ABORT
    # The same node again is still one; another one is one too many, however much later.
    state, decision = decide(state, seen, tolerant)
    assert decision.verdict is not Verdict.ABORT
    _, decision = decide(state, replace(seen, refused=(refusal("n2"),)), tolerant)
    assert decision.reason.endswith("(2 refused, 1 may)")


def test_the_first_of_its_version_decides_for_all_of_its_kind() -> None:
    tolerant = replace(WAY, max_refused=9)
    _, decision = decide(at_stage(), Observation(refused=(refusal("n1"),)), tolerant)
    assert decision.verdict is Verdict.ABORT
    assert decision.reason.endswith("(no envoy 1.40.0 has taken it)")
    # What took it before was another version.
    state, _ = decide(at_stage(), Observation(proven=frozenset({"envoy 1.36.0"})), tolerant)
    _, decision = decide(state, Observation(refused=(refusal("n1"),)), tolerant)
    assert decision.verdict is Verdict.ABORT
    # One of its own kind took it: in the same step, or at any stage before.
    state, _ = decide(at_stage(), Observation(proven=frozenset({NEW})), tolerant)
    state, decision = decide(state, Observation(refused=(refusal("n1"),)), tolerant)
    assert decision.verdict is not Verdict.ABORT
    assert (state.proven, state.refused) == ((NEW,), ("n1",))


def test_what_does_not_hang_together_is_never_tolerated() -> None:
    seen = Observation(faults=("`n1`: two listeners share an address",), proven=frozenset({NEW}))
    _, decision = decide(at_stage(), seen, replace(WAY, max_refused=9))
    assert (decision.verdict, decision.reason) == (Verdict.ABORT, "`n1`: two listeners share an address")


def test_blocked_releases_wait_with_words_and_begin_when_they_may() -> None:
    state, decision = decide(State(), Observation(blocked_by=("service default/ledger",)), WAY)
    assert (state.phase, decision.verdict) == (Phase.WAITING, Verdict.HOLD)
    assert decision.reason == "blocked by `service default/ledger`"
    state, decision = decide(state, Observation(), WAY)
    assert (state.phase, state.stage) == (Phase.PROGRESSING, 0)


def test_known_good_content_goes_everywhere_at_once() -> None:
    state, decision = decide(State(), Observation(known_good=True), WAY)
    assert (state.phase, decision.verdict) == (Phase.PROMOTING, Verdict.PROMOTE)


def test_a_change_without_stages_is_promoted_at_once() -> None:
    state, _ = decide(State(), Observation(), replace(WAY, stages=()))
    assert state.phase is Phase.PROMOTING


def test_waves_need_time_but_no_number_of_requests() -> None:
    way = replace(WAY, stages=(WaveStage(count=1), WaveStage(share=10_000)), gates=())
    state, verdict, _ = run(at_stage(), tick(0, 0, 0, 0), 10, way)
    assert (state.stage, verdict) == (1, Verdict.PROMOTE)


def test_nothing_goes_forward_while_it_is_frozen_but_back_it_goes() -> None:
    state, _, _ = run(at_stage(), tick(5), 9)
    after, decision = decide(state, replace(tick(50), frozen="the store is full"), WAY)
    assert (after.stage, decision.verdict, decision.reason) == (0, Verdict.HOLD, "the store is full")
    assert after.seen.canary_requests == 95
    after, decision = decide(state, replace(tick(50, 50), frozen="the store is full"), WAY)
    assert decision.verdict is Verdict.ABORT


phases = st.sampled_from(list(Phase))
observations = st.builds(
    Observation,
    elapsed_s=st.floats(0, 100),
    settled=st.booleans(),
    strata=st.one_of(
        st.none(),
        st.tuples(
            st.builds(
                lambda n, k, m, j: Stratum(WEB, Outcomes(n, min(n, k)), Outcomes(m, min(m, j))),
                *(st.integers(0, 200) for _ in range(4)),
            )
        ),
    ),
    audience=st.integers(0, 2),
    command=st.none() | st.sampled_from(list(Command)),
    blocked_by=st.sampled_from([(), ("service default/ledger",)]),
    refused=st.sampled_from([(), (Refusal("n", "d", LISTENER, ("in",), "cannot bind"),)]),
    known_good=st.booleans(),
    frozen=st.sampled_from(["", "no"]),
)


@given(st.lists(observations, max_size=60))
def test_whatever_happens_the_machine_keeps_its_promises(seen: list[Observation]) -> None:
    state = State()
    for each in seen:
        before = state
        state, decision = decide(before, each, WAY)
        assert decision.reason
        assert -1 <= state.stage < len(WAY.stages)
        moved = state.stage > before.stage or (state.phase, before.phase) == (Phase.PROMOTING, Phase.PROGRESSING)
        if before.stage >= 0 and moved:
            assert decision.verdict is Verdict.PROMOTE
            assert not each.refused
            assert not each.frozen
            # By a person, or after the whole hold was watched.
            assert each.command is Command.PROMOTE or before.seen.watched_s + each.elapsed_s >= WAY.hold_s
        if state.phase is Phase.ABORTING:
            assert state.stage == before.stage
        if before.phase is Phase.ABORTING:
            assert state == before
