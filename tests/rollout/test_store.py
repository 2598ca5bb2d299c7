"""What the store promises: what was written is read back, what was damaged is noticed, errors say what to do."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policyd.base.errors import Retry, Stalled
from policyd.model.mesh import Releases
from policyd.model.names import Name
from policyd.plan.change import Change, Unit, Value, WaveStage, WeightStage
from policyd.rollout.machine import Decision, State, Verdict
from policyd.rollout.record import Evidence, Phase
from policyd.rollout.release import Release
from policyd.rollout.store import KNOWN_GOOD, SeenCommit, Store
from policyd.rollout.way import way_of
from tests.rollout.world import CHECKOUT, mesh, service

AT = datetime(2027, 1, 1, tzinfo=UTC)


def values() -> dict[tuple[Unit, Name], Value]:
    one = mesh()
    return {
        (Unit.SETTINGS, Name("", "shop")): one.settings,
        **{(Unit.SERVICE, name): value for name, value in one.services.items()},
        **{(Unit.ACCESS, name): value for name, value in one.access.items()},
    }


def release(number: int = 1, phase: Phase = Phase.PROGRESSING) -> Release:
    change = Change(Unit.SERVICE, CHECKOUT, service(CHECKOUT), service(CHECKOUT, "v2"), ((Unit.ACCESS, CHECKOUT),))
    way = way_of(change, (WaveStage(count=1, keeps_split=True), WeightStage(500)), mesh().releases)
    return Release(number, change, way, "c1", "ada", AT, AT, State(phase=phase, stage=1, ran_s=2.5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policyd.db"


def test_everything_is_read_back_as_it_was(path: Path) -> None:
    store = Store(path)
    assert store.load().promoted is None
    store.promote(values())
    store.save(release())
    store.add_commit(SeenCommit("c0", "ada", taken=False, at=AT, findings=("a:1:1: error PD1: no",)))
    store.add_commit(SeenCommit("c1", "ada", taken=True, at=AT))
    store.close()
    store = Store(path)
    known = store.load()
    assert known.promoted == replace(mesh(), releases=Releases())
    assert known.releases == (release(),)
    assert (known.last_number, known.head) == (1, "c1")
    assert [seen.taken for seen in store.commits()] == [False, True]
    assert store.commits()[0].findings == ("a:1:1: error PD1: no",)
    store.close()


def test_an_abort_and_its_quarantine_are_one(path: Path) -> None:
    store = Store(path)
    bad = replace(release(), state=State(phase=Phase.ABORTING, quarantine="it failed"))
    store.abort(bad, "content", AT, Evidence(canary_requests=7))
    store.abort(replace(release(2), state=State(phase=Phase.ABORTED)), "other", AT, Evidence())
    assert store.load().quarantine == {"content": "it failed"}
    assert store.verdicts(1)[0].evidence.canary_requests == 7
    store.try_again(replace(bad, state=State(phase=Phase.SUPERSEDED)), release(3), "content", AT)
    assert store.load().quarantine == {}
    store.close()


def test_known_good_is_what_was_promoted_lately_wherever_its_instances_are(path: Path) -> None:
    store = Store(path)
    key = (Unit.SERVICE, CHECKOUT)
    store.promote({key: service(CHECKOUT, "v1")})
    assert store.known_good(*key, service(CHECKOUT, "v1", instances=9))
    assert not store.known_good(*key, service(CHECKOUT, "v2"))
    for number in range(KNOWN_GOOD):
        store.promote({key: service(CHECKOUT, "v2", request_ms=1_000 + number)})
    assert not store.known_good(*key, service(CHECKOUT, "v1"))
    assert store.known_good(*key, service(CHECKOUT, "v2", request_ms=1_000))
    store.close()


def test_a_removed_unit_is_gone(path: Path) -> None:
    store = Store(path)
    store.promote(values())
    store.promote({(Unit.SERVICE, CHECKOUT): None})
    promoted = store.load().promoted
    assert promoted is not None
    assert CHECKOUT not in promoted.services
    store.close()


def test_verdicts_are_kept_in_order(path: Path) -> None:
    store = Store(path)
    for reason in ("one", "two", "three"):
        store.step(replace(release(), decision=Decision(Verdict.HOLD, reason)), AT, Evidence())
    assert [one.reason for one in store.verdicts(1, last=2)] == ["two", "three"]
    store.close()


def test_a_value_that_was_changed_behind_our_back_is_noticed(path: Path) -> None:
    store = Store(path)
    store.promote(values())
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE promoted SET value = replace(value, '8080', '9090') WHERE unit = 'service'")
    db.close()
    store = Store(path)
    with pytest.raises(Stalled, match="is damaged: the service of `default/checkout` is not what was written"):
        store.load()
    store.close()


def test_a_file_that_is_no_store_says_so(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(Stalled, match="is damaged") as caught:
        Store(path)
    assert "`policyd recover`" in caught.value.hint


def test_a_store_in_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="cannot be used"):
        Store(tmp_path / "missing" / "policyd.db")


def test_a_newer_store_is_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(Stalled, match="written by a newer policyd"):
        Store(path)


def test_a_held_store_asks_for_patience(path: Path) -> None:
    store = Store(path)
    store._db.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retry, match="another process holds"):
        store.save(release())
    other.close()
    store.save(release())
    store.close()


def test_a_full_disk_stalls_and_writing_goes_on_when_there_is_room(path: Path) -> None:
    store = Store(path)
    store.save(release())
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    long = replace(release(2), commit="c" * 100_000)
    for _ in range(2):
        with pytest.raises(Stalled, match="full"):
            store.save(long)
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.save(long)
    assert store.load().last_number == 2
    store.close()
