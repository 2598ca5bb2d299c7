"""Who called whom, and when last: from readings as they come, resets and silence among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from policyd.model.names import Name
from policyd.telemetry.counters import Tick, difference
from policyd.telemetry.edges import Edges, Now
from policyd.telemetry.source import ClusterCounters, NodeCounters, Reading

WEB, CHECKOUT = Name("default", "web"), Name("default", "checkout")
NODE, CLUSTER = "default/web/v1/10.0.0.1", "default/checkout/v1"
BEGAN = datetime(2027, 1, 1, tzinfo=UTC)


class Feed:
    """Readings of some nodes, ten seconds apart."""

    def __init__(self) -> None:
        self.edges = Edges()
        self._before: Reading | None = None
        self._now_s = 0.0

    def read(self, **counters: NodeCounters | None) -> datetime:
        """`web=None`: asked, and did not answer."""
        self._now_s += 10
        at = BEGAN + timedelta(seconds=self._now_s)
        ids = {name: f"default/{name}/v1/10.0.0.1" for name in counters}
        reading = Reading(self._now_s, {ids[name]: found for name, found in counters.items() if found is not None})
        tick = difference(self._before, reading) if self._before is not None else Tick(0.0)
        self.edges.add(tick, reading, asked=tuple(ids.values()), at=at)
        self._before = reading
        return at


def calls(completed: int, refused: int = 0) -> NodeCounters:
    return NodeCounters({CLUSTER: ClusterCounters(completed, 0, None, refused)})


def test_an_edge_is_what_its_caller_counted() -> None:
    feed = Feed()
    first = feed.read(web=calls(0))
    last = feed.read(web=calls(30, 2))
    seen = feed.edges.seen()
    outcomes = seen.ways[WEB, CHECKOUT, "v1"]
    assert (outcomes.requests, outcomes.refused, seen.seconds) == (30, 2, 10.0)
    assert (seen.since, seen.last_used) == (first, {(WEB, CHECKOUT): last})


def test_the_window_forgets_and_the_last_use_does_not() -> None:
    feed = Feed()
    feed.read(web=calls(0))
    used = feed.read(web=calls(30))
    for _ in range(7):
        feed.read(web=calls(30))
    seen = feed.edges.seen()
    assert (seen.ways, seen.seconds, seen.last_used) == ({}, 60.0, {(WEB, CHECKOUT): used})


def test_what_is_under_way_is_a_use() -> None:
    feed = Feed()
    held = NodeCounters({CLUSTER: ClusterCounters(1, active=2)})
    feed.read(web=held)
    last = feed.read(web=held)
    seen = feed.edges.seen()
    assert (seen.last_used, seen.now) == ({(WEB, CHECKOUT): last}, {(WEB, CHECKOUT, "v1"): Now(active=2)})


def test_counters_that_nobody_had_read_before_say_only_that_nothing_came_later() -> None:
    feed = Feed()
    first = feed.read(web=calls(5))
    feed.read(web=calls(5))
    assert feed.edges.seen().last_used == {(WEB, CHECKOUT): first}
    # A sidecar that started anew, and was called before anybody looked again.
    again = feed.read(web=calls(2))
    seen = feed.edges.seen()
    assert (seen.ways, seen.last_used) == ({}, {(WEB, CHECKOUT): again})


def test_who_does_not_answer_is_not_read_and_not_quiet() -> None:
    feed = Feed()
    feed.read(web=calls(5), checkout=None)
    assert feed.edges.seen().not_read == {"default/checkout/v1/10.0.0.1"}
    feed.read(web=None, checkout=NodeCounters())
    assert feed.edges.seen().not_read == {NODE}


def test_denials_are_of_a_callee_or_of_a_caller_and_never_of_both() -> None:
    feed = Feed()
    kept_in = {"no-rule-for-request": 1}
    feed.read(
        web=NodeCounters(not_in_scope=1, kept_in=kept_in), checkout=NodeCounters(denied={"no-rule-for-request": 4})
    )
    kept_in = {"no-rule-for-request": 4, "revoked": 1}
    feed.read(
        web=NodeCounters(not_in_scope=3, kept_in=kept_in), checkout=NodeCounters(denied={"no-rule-for-request": 9})
    )
    seen = feed.edges.seen()
    assert dict(seen.denied) == {(CHECKOUT, "no-rule-for-request"): 5}
    assert dict(seen.not_in_scope) == {WEB: 2}
    assert dict(seen.kept_in) == {(WEB, "no-rule-for-request"): 3, (WEB, "revoked"): 1}


def test_what_was_known_before_is_gone_on_from() -> None:
    feed = Feed()
    last = feed.read(web=calls(5))
    feed.edges.recall(BEGAN - timedelta(days=30), {(WEB, CHECKOUT): BEGAN, (CHECKOUT, WEB): BEGAN})
    seen = feed.edges.seen()
    assert seen.since == BEGAN - timedelta(days=30)
    assert seen.last_used == {(WEB, CHECKOUT): last, (CHECKOUT, WEB): BEGAN}


def test_a_rule_is_used_by_what_it_let_in_whatever_its_wording() -> None:
    feed = Feed()
    feed.read(checkout=NodeCounters(allowed={"default/a#11111111": 5}))
    last = feed.read(checkout=NodeCounters(allowed={"default/a#11111111": 7, "default/a#22222222": 1}))
    feed.read(checkout=NodeCounters(allowed={"default/a#11111111": 7, "default/a#22222222": 1, "default/b#0": 0}))
    seen = feed.edges.seen()
    assert dict(seen.matched) == {(CHECKOUT, "default/a"): 3}
    assert seen.rule_last_used == {(CHECKOUT, "default/a"): last}


def test_what_is_open_is_of_this_moment_and_counted_by_sidecar() -> None:
    feed = Feed()
    held = NodeCounters({CLUSTER: ClusterCounters(9, open_circuits=2, left_out=3)})
    feed.read(web=held)
    assert feed.edges.seen().now == {(WEB, CHECKOUT, "v1"): Now(1, 3)}
    feed.read(web=calls(9))
    assert feed.edges.seen().now == {}


def test_a_call_that_was_led_on_used_both_edges() -> None:
    led_on = f"{CLUSTER}/failover/default/standby/v1"
    feed = Feed()
    feed.read(web=NodeCounters())
    counted = {f"{CLUSTER}/failover": ClusterCounters(completed=30), led_on: ClusterCounters(led_on=12)}
    last = feed.read(web=NodeCounters(counted))
    seen = feed.edges.seen()
    standby = Name("default", "standby")
    assert (seen.ways[WEB, CHECKOUT, "v1"].requests, seen.ways[WEB, standby, "v1"].requests) == (30, 12)
    assert seen.last_used == {(WEB, CHECKOUT): last, (WEB, standby): last}
