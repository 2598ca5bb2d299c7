"""Which roots proxies trust: remembered beside the root, so that its loss is noticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policyd.base.errors import Stalled
from policyd.identity.roots import RootRecord, Trusted, TrustedRoot

NOW = datetime(2027, 1, 1, tzinfo=UTC)
OLD, NEW = b"old", b"new"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trusted-roots.json"


def test_nothing_was_ever_written(path: Path) -> None:
    assert RootRecord(path).trusted is None


def test_a_new_root_is_published_beside_the_old_one_then_signs_then_stays_alone(path: Path) -> None:
    record = RootRecord(path)
    record.sign(OLD, NOW)
    record.publish(NEW)
    assert RootRecord(path).trusted == Trusted((TrustedRoot("old"), TrustedRoot("new")), publishing=True)
    record.sign(NEW, NOW + timedelta(hours=1))
    again = RootRecord(path)
    assert again.trusted is not None
    assert (again.trusted.pems, again.trusted.publishing) == ((OLD, NEW), False)
    assert not again.retire(NOW + timedelta(minutes=59))
    assert again.retire(NOW + timedelta(hours=1))
    assert RootRecord(path).trusted == Trusted((TrustedRoot("new"),))


def test_beside_a_root_that_is_not_known_nothing_is_published(path: Path) -> None:
    record = RootRecord(path)
    record.write(Trusted())
    record.publish(NEW)
    assert record.trusted == Trusted((TrustedRoot("new"),), publishing=False)


def test_a_record_that_is_damaged_tells_of_roots_that_are_not_known(path: Path) -> None:
    path.write_text("{")
    assert RootRecord(path).trusted == Trusted()


def test_what_cannot_be_written_is_not_held_to_be_true(tmp_path: Path) -> None:
    record = RootRecord(tmp_path / "missing" / "trusted-roots.json")
    with pytest.raises(Stalled, match="cannot be written"):
        record.sign(OLD, NOW)
    assert record.trusted is None
