"""Differences of cumulative counters: right, or not there at all."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from policyd.model.names import Name
from policyd.telemetry.buckets import add, quantile, slower_than, subtract
from policyd.telemetry.counters import NodeTick, Outcomes, Tick, difference
from policyd.telemetry.observed import Observed
from policyd.telemetry.rates import Rates
from policyd.telemetry.source import Buckets, ClusterCounters, NodeCounters, Reading
from policyd.telemetry.windows import Stratum, by_version, by_wave, calls_to, denials

NODE = "default/web/v1/10.0.0.1"
CLUSTER = "default/checkout/v1"
BOUNDS = (10.0, 100.0, math.inf)


def reading(at_s: float, counters: ClusterCounters | None, node: str = NODE) -> Reading:
    clusters = {} if counters is None else {CLUSTER: counters}
    return Reading(at_s, {node: NodeCounters(clusters)})


def seen(before: ClusterCounters | None, after: ClusterCounters | None) -> Outcomes | None:
    return difference(reading(0, before), reading(1, after)).nodes[NODE].clusters.get(CLUSTER)


def test_a_tick_is_the_difference() -> None:
    assert seen(ClusterCounters(10, 1), ClusterCounters(25, 3)) == Outcomes(15, 2)


def test_a_cluster_that_was_never_used_had_counted_nothing() -> None:
    assert seen(None, ClusterCounters(5, 1)) == Outcomes(5, 1)
    assert seen(None, None) is None


def test_whatever_goes_back_or_away_takes_its_series_out_of_the_tick() -> None:
    assert seen(ClusterCounters(10, 1), ClusterCounters(3, 1)) is None
    assert seen(ClusterCounters(10, 5), ClusterCounters(20, 0)) is None
    assert seen(ClusterCounters(10, 1), None) is None
    timed = Buckets(BOUNDS, (1, 2, 3))
    assert seen(ClusterCounters(10, 1, timed), ClusterCounters(11, 1)) is None
    assert seen(ClusterCounters(10, 1, timed), ClusterCounters(11, 1, Buckets(BOUNDS, (0, 2, 4)))) is None


def test_more_new_errors_than_new_requests_cannot_be() -> None:
    # Half of a reset: the requests were reset and have overtaken, the errors have not.
    assert seen(ClusterCounters(10, 1), ClusterCounters(12, 9)) is None


def test_a_node_that_was_not_read_begins_anew() -> None:
    gone = Reading(1, {})
    assert difference(reading(0, ClusterCounters(5)), gone).nodes == {}
    assert difference(gone, reading(2, ClusterCounters(50))).nodes == {}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), min_size=1, max_size=30))
def test_ticks_without_a_visible_reset_add_up_and_no_tick_is_ever_negative(
    rows: list[tuple[int, int, bool]],
) -> None:
    total, errors, before = 0, 0, reading(0, ClusterCounters())
    counted = Outcomes()
    resets = 0
    for at, (requests, failed, restart) in enumerate(rows, start=1):
        if restart:
            total, errors, resets = 0, 0, resets + 1
        total, errors = total + requests, errors + min(failed, requests)
        after = reading(at, ClusterCounters(total, errors))
        outcomes = difference(before, after).nodes[NODE].clusters.get(CLUSTER)
        if outcomes is not None:
            assert 0 <= outcomes.errors <= outcomes.requests
            counted = Outcomes(counted.requests + outcomes.requests, counted.errors + outcomes.errors)
        before = after
    if not resets:
        assert counted == Outcomes(total, errors)
    assert counted.requests <= sum(requests for requests, _, _ in rows)


def test_quantiles_lie_inside_their_bucket() -> None:
    buckets = Buckets(BOUNDS, (50, 90, 100))
    assert quantile(buckets, 0.25) == 5.0
    assert quantile(buckets, 0.5) == 10.0
    assert quantile(buckets, 0.7) == 55.0
    assert quantile(buckets, 0.99) == 100.0
    assert quantile(Buckets(BOUNDS, (0, 0, 0)), 0.5) is None
    assert quantile(Buckets(BOUNDS, (0, 0, 5)), 0.5) == 100.0


def test_what_was_slower_than_a_bound() -> None:
    buckets = Buckets(BOUNDS, (50, 90, 100))
    assert slower_than(buckets, 10) == 50
    assert slower_than(buckets, 100) == 10
    assert slower_than(buckets, 55) == 30
    assert slower_than(buckets, 5_000) == 10
    assert slower_than(buckets, math.inf) == 0


def test_histograms_of_other_bounds_do_not_mix() -> None:
    left, right = Buckets(BOUNDS, (1, 2, 3)), Buckets((5.0, math.inf), (9, 9))
    assert add(left, right) == right
    assert add(left, left) == Buckets(BOUNDS, (2, 4, 6))
    assert add(None, left) == left
    assert subtract(left, right) is None


def tick(**nodes: NodeTick) -> Tick:
    return Tick(1.0, {name.replace("_", "/"): one for name, one in nodes.items()})


def test_versions_are_compared_caller_by_caller() -> None:
    checkout = Name("default", "checkout")
    v1, v2 = Outcomes(90, 1), Outcomes(10, 2)
    one = tick(
        default_web_v1_a=NodeTick({"default/checkout/v1": v1, "default/checkout/v2": v2}),
        default_web_v1_b=NodeTick({"default/checkout/v1": v1}),
        default_ops_v1_c=NodeTick({"default/checkout/v2": v2, "default/payments/v1": v1}),
        default_idle_v1_d=NodeTick({"default/payments/v1": v1}),
    )
    assert by_version(one, checkout, "v2", "v1") == (
        Stratum(Name("default", "ops"), v2, Outcomes()),
        Stratum(Name("default", "web"), v2, Outcomes(180, 2)),
    )


def test_what_a_fallback_had_to_answer_is_an_error_of_the_version_that_was_meant() -> None:
    checkout = Name("default", "checkout")
    counted = {
        "default/checkout/v1/failover": Outcomes(90, 1),
        "default/checkout/v2/failover": Outcomes(10, 2),
        "default/checkout/v2/failover/default/checkout/v1": Outcomes(led_on=5),
        "default/checkout/v2/failover/default/standby/v1": Outcomes(led_on=9),
    }
    one = tick(default_web_v1_a=NodeTick(counted))
    assert by_version(one, checkout, "v2", "v1") == (
        Stratum(Name("default", "web"), Outcomes(10, 10), Outcomes(90, 1)),
    )
    assert calls_to(checkout)(Name("default", "web"), one.nodes["default/web/v1/a"]).errors == 3, "callers saw three"


def test_waves_are_compared_inside_each_service() -> None:
    calls = NodeTick({"default/checkout/v1": Outcomes(10, 1), "default/checkout/v2": Outcomes(5, 0)})
    own = NodeTick({"app": Outcomes(20, 3)}, inbound=Outcomes(25, 5))
    one = tick(default_web_v1_a=calls, default_web_v1_b=calls, default_checkout_v1_a=own, default_checkout_v1_b=own)
    wave = frozenset({"default/web/v1/a", "default/checkout/v1/a"})
    outside = frozenset({"default/web/v1/b"})
    assert by_wave(one, wave, outside, calls_to(Name("default", "checkout"))) == (
        Stratum(Name("default", "checkout"), Outcomes(20, 3), Outcomes()),
        Stratum(Name("default", "web"), Outcomes(15, 1), Outcomes(15, 1)),
    )
    denied = by_wave(one, wave, outside, denials)
    assert denied[0].canary == Outcomes(25, 5)


def test_rates_are_those_of_the_window() -> None:
    rates = Rates(window_s=2.0)
    assert rates.table() == ()
    for requests in (1_000, 10, 30):
        rates.add(tick(default_web_v1_a=NodeTick({CLUSTER: Outcomes(requests, requests // 10), "app": Outcomes(7)})))
    (rate,) = rates.table()
    assert (rate.service, rate.version) == (Name("default", "checkout"), "v1")
    assert (rate.requests_per_s, rate.error_share, rate.p99_ms) == (20.0, 0.1, None)


def test_what_observed_rules_would_change_is_added_up_by_service_and_no_restart_takes_it_back() -> None:
    node = "pay/payments/v1/10.0.0.1"
    cumulative = [
        {node: NodeCounters(would={"would-allow pay/a#1": 2})},
        {node: NodeCounters(would={"would-allow pay/a#1": 5, "would-allow pay/b#1": 1, "would-deny pay/c#1": 4})},
        {node: NodeCounters(would={"would-allow pay/a#1": 1})},  # it has begun anew
        {},
        {node: NodeCounters(would={"would-allow pay/a#1": 9}), "not a node": NodeCounters(would={"would-deny x": 1})},
        {node: NodeCounters(would={"would-allow pay/a#1": 10})},
    ]
    readings = [Reading(float(at), nodes) for at, nodes in enumerate(cumulative)]
    observed = Observed()
    for before, after in pairwise(readings):
        observed.add(difference(before, after))
    assert observed.totals == {("pay/payments", "would-allow"): 5, ("pay/payments", "would-deny"): 4}
