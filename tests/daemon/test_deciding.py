"""Decisions over HTTP answer for what proxies run: what the floor has closed there is closed here."""

from __future__ import annotations

from datetime import timedelta

import pytest

from policyd.api.control import Question
from policyd.daemon.controller import _behind
from policyd.daemon.deciding import Promoted, PromotedDecisions
from policyd.model.access import Access
from policyd.testing.clock import FakeClock
from tests.rollout.world import PAYMENTS, WEB, mesh, rule

CALL = Question("spiffe://shop.example/ns/default/svc/web", "payments", "GET", "/v1/charges")


@pytest.mark.parametrize(("ahead_s", "allow"), [(None, True), (29, True), (30, False), (3_600, False)])
def test_a_rule_that_has_ended_once_allows_nothing_though_the_clock_was_set_back(
    ahead_s: int | None, allow: bool
) -> None:
    clock = FakeClock()
    ends = clock.now() + timedelta(seconds=30)
    floor = None if ahead_s is None else clock.now() + timedelta(seconds=ahead_s)
    short = mesh(access=(Access(PAYMENTS, (rule("for-a-while", WEB, expires=ends),)),))
    decisions = PromotedDecisions(lambda: Promoted(short, "c" * 40, {}, floor), clock)
    assert decisions.decide(CALL).allow is allow


def test_a_clock_behind_the_floor_is_said_with_the_way_back() -> None:
    now = FakeClock().now()
    assert _behind(now, None) == _behind(now, now) == ""
    said = _behind(now, now + timedelta(days=1))
    assert "the clock says 2027-01-01 00:00:00, and a rule was taken as expired at 2027-01-02 00:00:00" in said
    assert "`policyd accept-clock`" in said
