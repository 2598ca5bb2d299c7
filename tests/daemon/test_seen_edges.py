"""What is remembered of edges: across a restart, and not across a file that nobody can read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from policyd.daemon.seen_edges import SeenEdges
from policyd.model.names import Name
from policyd.telemetry.edges import Edges
from policyd.testing.clock import FakeClock

SINCE = datetime(2026, 12, 1, tzinfo=UTC)
USED = datetime(2026, 12, 24, tzinfo=UTC)
PAIR = Name("shop", "web"), Name("pay", "payments")
RULE = PAIR[1], "pay/web-pays"


def test_a_restart_forgets_neither_since_when_nor_the_last_use(tmp_path: Path) -> None:
    before, after = Edges(), Edges()
    before.recall(SINCE, {PAIR: USED}, {RULE: USED})
    SeenEdges(tmp_path / "edges.json", FakeClock()).keep(before.seen())
    SeenEdges(tmp_path / "edges.json", FakeClock()).recall(after)
    assert (after.seen().since, after.seen().last_used) == (SINCE, {PAIR: USED})
    assert after.seen().rule_last_used == {RULE: USED}


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"[]",
        b"{}",
        b'{"since": "2026-12-01T00:00:00", "last_used": [], "rules": []}',
        b'{"since": "2026-12-01T00:00:00Z", "last_used": []}',
    ],
)
def test_what_cannot_be_read_is_not_known(kept: bytes, tmp_path: Path) -> None:
    (tmp_path / "edges.json").write_bytes(kept)
    edges = Edges()
    SeenEdges(tmp_path / "edges.json", FakeClock()).recall(edges)
    assert (edges.seen().since, edges.seen().last_used) == (None, {})


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    edges = Edges()
    edges.recall(SINCE, {PAIR: USED})
    SeenEdges(tmp_path / "not there" / "edges.json", FakeClock()).keep(edges.seen())
    assert edges.seen().last_used == {PAIR: USED}
