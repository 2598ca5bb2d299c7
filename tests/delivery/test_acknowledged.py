"""What proxies acknowledged outlives the process: once, bounded, without secrets, and never in the way."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policyd.compiler.artifact import Artifact
from policyd.delivery.acknowledged import AGAIN_S, AcknowledgedSets
from policyd.delivery.ledger import Answered, Converged, Ledger
from policyd.delivery.resource_types import CLUSTER, SECRET
from policyd.delivery.snapshot import NodeSnapshot
from policyd.testing.clock import FakeClock

NOW = FakeClock().now()
SHARED = Artifact(CLUSTER, "shared", b"shared" * 100)
KEY = Artifact(SECRET, "svid", b"-----BEGIN PRIVATE KEY-----")

Open = Callable[[], AcknowledgedSets]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "acknowledged.sqlite"


@pytest.fixture
def opened(file: Path, clock: FakeClock) -> Iterator[Open]:
    """Another process on the same file, each time."""
    made: list[AcknowledgedSets] = []

    def begin() -> AcknowledgedSets:
        for before in made:
            before.close()
        made.append(AcknowledgedSets(file, clock))
        return made[-1]

    yield begin
    for sets in made:
        sets.close()


def taken(ledger: Ledger, node: str, *artifacts: Artifact) -> NodeSnapshot:
    snapshot = NodeSnapshot.of(node, artifacts)
    ledger.converged(Converged(node, snapshot.digest, NOW, 0.0), snapshot)
    return snapshot


def recalled(sets: AcknowledgedSets) -> Ledger:
    ledger = Ledger()
    sets.recall(ledger)
    return ledger


async def test_sets_and_suspects_are_there_again(opened: Open) -> None:
    ledger = Ledger()
    snapshot = taken(ledger, "n", SHARED, Artifact(CLUSTER, "own", b"1"))
    ledger.refused(Answered("n", CLUSTER, ("bad",), NOW, 0.1, "no"), {"bad": "v"})
    ledger.refused(Answered("new", CLUSTER, ("bad",), NOW, 0.1, "no"), {"bad": "v"})
    await opened().keep(ledger)
    after = recalled(opened())
    assert after.records["n"].acknowledged == snapshot
    assert after.records["n"].suspects == {(CLUSTER, "bad")}
    assert after.records["new"].acknowledged is None
    # What is mended or gone is not remembered.
    ledger.trust("n")
    ledger.forget("new")
    await opened().keep(ledger)
    after = recalled(opened())
    assert after.records["n"].suspects == set()
    assert "new" not in after.records


async def test_no_secret_is_ever_written_and_the_fallback_has_those_of_now(opened: Open, file: Path) -> None:
    ledger = Ledger()
    taken(ledger, "n", SHARED, KEY)
    await opened().keep(ledger)
    written = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert SHARED.body in written
    assert b"PRIVATE KEY" not in written
    assert mode(file) == 0o600
    renewed = Artifact(SECRET, "svid", b"renewed")
    back = recalled(opened()).records["n"].fallback(NodeSnapshot.of("n", [renewed]))
    assert back == NodeSnapshot.of("n", [SHARED, renewed])


async def test_an_artefact_is_kept_once_and_old_ones_go(opened: Open, file: Path) -> None:
    ledger, sets = Ledger(), opened()
    for node in range(50):
        taken(ledger, f"n{node}", SHARED)
    await sets.keep(ledger)
    assert count(file) == 1
    for change in range(40):
        for node in range(50):
            taken(ledger, f"n{node}", SHARED, Artifact(CLUSTER, "own", f"{change} {node}".encode()))
        await sets.keep(ledger)
    assert count(file) <= 2 * 51 + 500
    assert all(record.acknowledged is not None for record in recalled(opened()).records.values())


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def there(file: Path) -> bool:
    return file.exists()


def overwrite(file: Path) -> None:
    file.write_bytes(b"nonsense" * 1_000)


def count(file: Path) -> int:
    db = sqlite3.connect(file)
    found: int = db.execute("SELECT count(*) FROM artefact").fetchone()[0]
    db.close()
    return found


@pytest.mark.parametrize("damage", ["no database", "another body", "a body is gone", "not a list"])
async def test_a_damaged_file_is_thrown_away_and_written_anew(opened: Open, file: Path, damage: str) -> None:
    ledger = Ledger()
    taken(ledger, "n", SHARED)
    taken(ledger, "other", Artifact(CLUSTER, "own", b"1"))
    sets = opened()
    await sets.keep(ledger)
    sets.close()
    if damage == "no database":
        overwrite(file)
    else:
        change = {
            "another body": "UPDATE artefact SET body = x'00'",
            "a body is gone": "DELETE FROM artefact WHERE rowid = 2",
            "not a list": "UPDATE node SET resources = '{' WHERE id = 'other'",
        }[damage]
        db = sqlite3.connect(file)
        db.execute(change)
        db.commit()
        db.close()
    sets = opened()
    after = recalled(sets)
    assert all(record.acknowledged is None for record in after.records.values())
    assert not there(file)
    snapshot = taken(after, "n", SHARED)
    await sets.keep(after)
    assert recalled(opened()).records["n"].acknowledged == snapshot


async def test_a_full_disk_leaves_no_old_set_behind_and_all_is_written_when_there_is_room(
    opened: Open, file: Path, clock: FakeClock
) -> None:
    ledger, sets = Ledger(), opened()
    taken(ledger, "a", SHARED)
    taken(ledger, "b", SHARED)
    await sets.keep(ledger)
    assert sets._db is not None
    sets._db.execute("PRAGMA max_page_count = 5")
    newer = taken(ledger, "a", Artifact(CLUSTER, "big", b"x" * 100_000))
    await sets.keep(ledger)
    assert not there(file)
    await sets.keep(ledger)
    assert not there(file)
    clock.advance(AGAIN_S)
    await sets.keep(ledger)
    after = recalled(opened())
    assert after.records["a"].acknowledged == newer
    assert after.records["b"].acknowledged is not None


async def test_where_there_can_be_no_file_delivery_goes_on_without(clock: FakeClock, tmp_path: Path) -> None:
    sets = AcknowledgedSets(tmp_path / "missing" / "acknowledged.sqlite", clock)
    ledger = recalled(sets)
    snapshot = taken(ledger, "n", SHARED)
    await sets.keep(ledger)
    assert ledger.record("n").fallback(None) is snapshot
    sets.close()
