"""The sequential test keeps its promises: by enumeration where possible, by simulation where not."""

from __future__ import annotations

import math
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.rollout.analysis import (
    ALPHA,
    GRID,
    START,
    THETA_0,
    Counts,
    Evidence,
    e_value,
    increments,
    log_e_value,
    rejects,
    update,
)


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("errors", [1, 2, 7])
@pytest.mark.parametrize(("n_c", "n_b"), [(1, 1), (5, 95), (50, 50), (99, 1), (1, 10_000)])
def test_each_likelihood_ratio_is_a_martingale_at_the_boundary_of_the_null(n_c: int, n_b: int, errors: int) -> None:
    p = THETA_0 * n_c / (THETA_0 * n_c + n_b)
    for index in range(len(GRID)):
        expectation = sum(
            binomial(errors, k, p) * math.exp(increments(Counts(n_c, k, n_b, errors - k))[index])
            for k in range(errors + 1)
        )
        assert expectation == pytest.approx(1.0, rel=1e-9)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 20), st.floats(0.01, THETA_0))
def test_inside_the_null_the_expectation_is_at_most_one(n_c: int, n_b: int, errors: int, ratio: float) -> None:
    p = ratio * n_c / (ratio * n_c + n_b)
    for index in range(len(GRID)):
        expectation = sum(
            binomial(errors, k, p) * math.exp(increments(Counts(n_c, k, n_b, errors - k))[index])
            for k in range(errors + 1)
        )
        assert expectation <= 1.0 + 1e-9


def test_the_formula_of_one_tick() -> None:
    counts = Counts(100, 20, 1_900, 2)
    for theta, step in zip(GRID, increments(counts), strict=True):
        by_hand = 20 * math.log(theta / 1.5) - 22 * math.log((theta * 100 + 1_900) / (1.5 * 100 + 1_900))
        assert step == pytest.approx(by_hand)


@pytest.mark.parametrize(
    "counts", [Counts(0, 0, 0, 0), Counts(0, 0, 50, 7), Counts(50, 7, 0, 0), Counts(50, 0, 50, 0)]
)
def test_silence_and_health_say_nothing(counts: Counts) -> None:
    assert update(START, [counts]) == START
    assert e_value(START) == 1.0


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)), max_size=8))
def test_the_order_of_ticks_and_the_grouping_of_strata_do_not_matter(rows: list[tuple[int, int, int, int]]) -> None:
    counts = [Counts(n_c, min(k_c, n_c), n_b, min(k_b, n_b)) for n_c, n_b, k_c, k_b in rows]
    at_once = update(START, counts)
    one_by_one = START
    for each in reversed(counts):
        one_by_one = update(one_by_one, [each])
    assert one_by_one == pytest.approx(at_once, abs=1e-9)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 50))
def test_the_same_share_at_another_scale_is_the_same_evidence(n_c: int, n_b: int, scale: int) -> None:
    # Only the ratio of exposures enters: ten times the traffic with the same errors says the same.
    errors = min(3, n_c, n_b)
    left = increments(Counts(n_c, errors, n_b, errors))
    right = increments(Counts(n_c * scale, errors, n_b * scale, errors))
    assert left == pytest.approx(right, abs=1e-9)


def test_no_evidence_overflows() -> None:
    evidence = update(START, [Counts(10**9, 10**9, 10**9, 0)] * 50)
    assert rejects(evidence)
    assert math.isfinite(log_e_value(evidence))
    assert math.isfinite(e_value(evidence))
    hopeless = update(START, [Counts(10**9, 0, 10**9, 10**9)] * 50)
    assert not rejects(hopeless)
    assert e_value(hopeless) == pytest.approx(0.0)


def test_the_mean_is_not_the_sum() -> None:
    assert e_value(tuple(math.log(value) for value in range(1, 10))) == pytest.approx(5.0)


def draw(rng: random.Random, n: int, p: float, table: dict[tuple[int, float], list[float]]) -> int:
    """A binomial draw by its cumulative table: fast for the few sizes that a simulation uses."""
    if (n, p) not in table:
        table[n, p] = list(accumulate(binomial(n, k, p) for k in range(n + 1)))
    u = rng.random()
    return next((k for k, below in enumerate(table[n, p]) if u <= below), n)


def ticks_until_abort(rng: random.Random, bad: float, good: float, share: int, ticks: int) -> int | None:
    table: dict[tuple[int, float], list[float]] = {}
    evidence: Evidence = START
    for tick in range(1, ticks + 1):
        n_c, n_b = share, 40 - share
        counts = Counts(n_c, draw(rng, n_c, bad, table), n_b, draw(rng, n_b, good, table))
        evidence = update(evidence, [counts])
        if rejects(evidence):
            return tick
    return None


@pytest.mark.parametrize("ratio", [1.0, THETA_0])
def test_a_canary_within_the_null_is_hardly_ever_aborted_though_looked_at_every_tick(ratio: float) -> None:
    # 2,000 canaries of 100 looks each. The bound is ALPHA in truth; 3 standard errors are allowed for the draw.
    rng = random.Random(20270101)
    runs = 2_000
    aborted = sum(ticks_until_abort(rng, 0.02 * ratio, 0.02, 10, 100) is not None for _ in range(runs))
    assert aborted / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_a_canary_with_a_fifth_of_errors_is_aborted_within_a_hundred_of_its_requests() -> None:
    rng = random.Random(7)
    runs = [ticks_until_abort(rng, 0.20, 0.001, 2, 400) for _ in range(300)]
    assert None not in runs
    canary_requests = sorted(2 * ticks for ticks in runs if ticks is not None)
    assert sum(canary_requests) / len(canary_requests) < 40
    assert canary_requests[int(len(runs) * 0.99)] < 100
