"""What is wrong with a proxy: each thing alone, said in words, and nothing said of one that is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from policyd.daemon.examining import Examined, health
from policyd.delivery.ledger import NodeRecord
from policyd.delivery.outcome import Refusal
from policyd.delivery.resource_types import LISTENER
from policyd.delivery.snapshot import NodeSnapshot
from policyd.telemetry.running import Certificates, SpanExport

AT = datetime(2027, 1, 1, 12, tzinfo=UTC)
NODE = "default/web/v1/10.0.0.1"
SET = NodeSnapshot.of(NODE, ())
LEAF = Certificates(AT - timedelta(hours=12), AT + timedelta(hours=12), frozenset())
LOST = "its spans are lost: it did not get through to the collector"
REFUSAL = Refusal(NODE, "d", LISTENER, ("inbound",), "Address already in use", "envoy 1.40.0")


def record(**more: object) -> NodeRecord:
    made = NodeRecord(NODE, acknowledged=SET, connected=True, since=AT - timedelta(hours=1))
    for name, value in more.items():
        setattr(made, name, value)
    return made


WELL = Examined(
    record=record(), program="envoy 1.40.0", connected=True, in_sync=True, assigned=SET, behind=(), certificates=LEAF,
    stats_at=AT - timedelta(seconds=2), stats_missed=False,
)  # fmt: skip


def test_nothing_is_said_of_one_that_is_well() -> None:
    found = health(WELL, AT)
    assert found.problems == ()
    assert (found.should_run, found.acknowledged) == (SET.digest, SET.digest)
    assert found.certificate is not None
    assert (found.certificate.left_s, found.stats_age_s) == (43_200.0, 2.0)


def test_statistics_that_were_missed_once_are_no_problem() -> None:
    assert health(replace(WELL, stats_missed=True), AT).problems == ()


def test_a_collector_that_was_away_once_is_no_problem() -> None:
    assert health(replace(WELL, export=SpanExport(connected=True, failed=7, distrusted=0)), AT).problems == ()
    assert health(replace(WELL, export=SpanExport(connected=False, failed=0, distrusted=0)), AT).problems == ()


def test_a_refusal_that_is_over_is_remembered_and_no_problem() -> None:
    found = health(replace(WELL, record=record(refused=(REFUSAL, AT))), AT)
    assert found.problems == ()
    assert found.refused is not None
    assert (found.refused.kind, found.refused.resources, found.refused.stands) == ("Listener", ("inbound",), False)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (replace(WELL, connected=False, in_sync=False), "not connected since 2027-01-01T11:00:00+00:00"),
        (replace(WELL, connected=False, in_sync=False, record=record(since=None)), "has never been connected"),
        (
            replace(WELL, in_sync=False, record=record(refusal=REFUSAL, refused=(REFUSAL, AT))),
            "refused Listener `inbound`: Address already in use",
        ),
        (replace(WELL, in_sync=False), "has not acknowledged yet what it should run"),
        (replace(WELL, certificates=None), "its certificate could not be read from its admin interface"),
        (
            replace(WELL, certificates=replace(LEAF, leaf_ends=AT + timedelta(hours=3))),
            "its certificate ends at 2027-01-01T15:00:00+00:00 and has not been renewed",
        ),
        (
            replace(WELL, certificates=replace(LEAF, leaf_ends=AT - timedelta(seconds=1))),
            "its certificate ended at 2027-01-01T11:59:59+00:00",
        ),
        (
            replace(WELL, stats_missed=True, stats_at=AT - timedelta(seconds=40)),
            "its statistics have not come for 40 s: nothing can be judged by it",
        ),
        (
            replace(WELL, export=SpanExport(connected=False, failed=1, distrusted=0)),
            f"{LOST}, once",
        ),
        (
            replace(WELL, export=SpanExport(connected=False, failed=3, distrusted=3)),
            f"{LOST}, 3 times, whose certificate is not of the roots in the settings, or names another",
        ),
        (
            replace(WELL, stats_missed=True, stats_at=None),
            "its statistics have not come yet: nothing can be judged by it",
        ),
    ],
)
def test_each_thing_that_is_wrong_is_said(changed: Examined, said: str) -> None:
    assert health(changed, AT).problems == (said,)
