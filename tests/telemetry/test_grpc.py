"""How gRPC calls ended, put together from counters that overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policyd.telemetry.grpc import ended, outcomes

COUNTS = st.integers(0, 50)
STATUSES = st.dictionaries(st.integers(0, 16), COUNTS)


def test_statuses_belong_to_the_cluster_that_was_called() -> None:
    values = {
        "cluster.pay/ledger/v1.grpc.0": 7,
        "cluster.pay/ledger/v1.grpc.13": 2,
        "cluster.pay/ledger/v1.grpc.request_message_count": 9,
        "cluster.pay/ledger/v1.upstream_rq_completed": 9,
        "cluster.pay/orders/v1.grpc.request_message_count": 1,
        "cluster.pay/web/v1.upstream_rq_completed": 3,
    }
    assert ended(values) == {"pay/ledger/v1": {0: 7, 13: 2}, "pay/orders/v1": {}}


def test_an_answer_of_this_sidecar_is_counted_once() -> None:
    """Without an upstream it is 503 in one counter and `UNAVAILABLE` in the other."""
    assert outcomes({0: 90, 14: 10}, errors=10, refused=0) == (100, 10, 0)


def test_failures_that_are_no_grpc_are_failures() -> None:
    """As those of a proxy in front of the application that speaks plain HTTP."""
    assert outcomes({0: 90}, errors=10, refused=5) == (105, 10, 5)


def test_what_was_asked_wrongly_is_no_error() -> None:
    assert outcomes({0: 1, 1: 1, 3: 1, 5: 1, 6: 1, 8: 1, 9: 1, 10: 1, 11: 1}, 0, 0) == (9, 0, 0)


@given(STATUSES, STATUSES, COUNTS, COUNTS, COUNTS, COUNTS)
def test_nothing_goes_back_and_no_part_moves_further_than_the_whole(
    first: dict[int, int], more: dict[int, int], errors: int, failing: int, refused: int, refusing: int
) -> None:
    """A tick in which this does not hold is left out as a reset."""
    then = {status: first.get(status, 0) + more.get(status, 0) for status in {*first, *more}}
    before, after = outcomes(first, errors, refused), outcomes(then, errors + failing, refused + refusing)
    completed, broken, denied = (new - old for new, old in zip(after, before, strict=True))
    assert broken >= 0
    assert denied >= 0
    assert broken + denied <= completed
