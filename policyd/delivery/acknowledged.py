"""Keeps on disk what each proxy acknowledged last, so that a refusal right after a restart has a way back.

    ledger -> `keep` -> one SQLite file -> `recall` -> ledger of the next process

The file is a memory and no authority: what is served comes from the promoted mesh, and only the way back from a
refusal comes from here. So it may be lost, and it must never be out of date: an old set could open again what was
closed since. Where it cannot be written it is thrown away whole, and written anew when that works again.

No secret is ever in it. A certificate is worth nothing without its key, a key belongs to no disk, and both have
been renewed by the time that the set is needed: they are taken from what the node is assigned then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog

from policyd.base.clock import Clock
from policyd.base.sqlite import transaction
from policyd.compiler.artifact import Artifact
from policyd.delivery.ledger import Ledger
from policyd.delivery.resource_types import SECRET
from policyd.delivery.snapshot import NodeSnapshot

_LOG = structlog.get_logger(__name__)

AGAIN_S = 30.0
"""How long after a failure the file is tried again."""
LOOK_S = 1.0
"""How often what was acknowledged outside of an assignment (by proxies that returned) is looked for."""
_SPARE = 500
"""How many artefacts that no set names any more may wait for the next clean-up, beside as many as are in use."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS artefact (version TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS node (id TEXT PRIMARY KEY, resources BLOB NOT NULL, suspects BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class _Row:
    """What is written about one node; `snapshot` is `None` before it acknowledged a whole set."""

    node_id: str
    snapshot: NodeSnapshot | None
    suspects: tuple[tuple[str, str], ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All that may be written of the set."""
        return tuple(artifact for artifact in self.snapshot or () if artifact.kind != SECRET)


class AcknowledgedSets:
    """The file at `path`, readable by its owner only. Nothing here raises: delivery goes on without it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._again_at = 0.0
        self._held: dict[str, frozenset[str]] = {}
        self._bodies: set[str] = set()
        self._turn = asyncio.Lock()
        self._using = threading.Lock()

    def recall(self, ledger: Ledger) -> None:
        """Let `ledger` know what was acknowledged before. A file that is damaged is thrown away."""
        try:
            db = self._open()
            bodies = dict(db.execute("SELECT version, body FROM artefact"))
            for node_id, resources, suspects in db.execute("SELECT id, resources, suspects FROM node"):
                snapshot = _snapshot(node_id, orjson.loads(resources), bodies)
                ledger.recall(node_id, snapshot, ((kind, name) for kind, name in orjson.loads(suspects)))
                self._held[node_id] = frozenset(artifact.version for artifact in snapshot or ())
            self._bodies = set(bodies)
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
            ledger.forget_recalled()
            self._throw_away(error)
            self._again_at = 0.0

    async def keep(self, ledger: Ledger) -> None:
        """Write what changed since the last time; when it returns, it is on disk (or the file is gone)."""
        async with self._turn:
            if self._db is None:
                if self._clock.monotonic() < self._again_at:
                    return
                ledger.unsaved.update(ledger.records)
            if not ledger.unsaved:
                return
            changed, ledger.unsaved = ledger.unsaved, set()
            rows, gone = [], []
            for node_id in sorted(changed):
                record = ledger.records.get(node_id)
                if record is None:
                    gone.append(node_id)
                else:
                    rows.append(_Row(node_id, record.acknowledged, tuple(sorted(record.suspects))))
            try:
                await asyncio.to_thread(self._write, rows, gone)
            except (sqlite3.Error, OSError) as error:
                self._throw_away(error)

    async def follow(self, ledger: Ledger) -> None:
        """Keep what proxies acknowledge when they return; never ends by itself."""
        while True:
            await self.keep(ledger)
            await self._clock.sleep(LOOK_S)

    def close(self) -> None:
        """Close the file."""
        with self._using:  # a cancelled `keep` leaves its thread behind
            if self._db is not None:
                self._db.close()
                self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        return self._db

    def _write(self, rows: Iterable[_Row], gone: Iterable[str]) -> None:
        with self._using, transaction(db := self._open()):
            for node_id in gone:
                self._held.pop(node_id, None)
            db.executemany("DELETE FROM node WHERE id = ?", [(node_id,) for node_id in gone])
            for row in rows:
                artifacts = row.artifacts
                self._held[row.node_id] = frozenset(artifact.version for artifact in artifacts)
                fresh = [artifact for artifact in artifacts if artifact.version not in self._bodies]
                self._bodies.update(artifact.version for artifact in fresh)
                db.executemany(
                    "INSERT OR IGNORE INTO artefact VALUES (?, ?)",
                    [(artifact.version, artifact.body) for artifact in fresh],
                )
                named = None if row.snapshot is None else [(a.kind, a.name, a.version) for a in artifacts]
                db.execute(
                    "INSERT OR REPLACE INTO node VALUES (?, ?, ?)",
                    (row.node_id, orjson.dumps(named), orjson.dumps(row.suspects)),
                )
            self._clean_up(db)

    def _clean_up(self, db: sqlite3.Connection) -> None:
        used = frozenset[str]().union(*self._held.values())
        if len(self._bodies) <= 2 * len(used) + _SPARE:
            return
        spare = self._bodies - used
        db.executemany("DELETE FROM artefact WHERE version = ?", [(version,) for version in spare])
        self._bodies -= spare

    def _throw_away(self, error: Exception) -> None:
        _LOG.warning(
            "acknowledged sets are not kept on disk; delivery goes on without", file=str(self._path), error=str(error)
        )
        with contextlib.suppress(sqlite3.Error):
            self.close()
        self._db = None
        self._held.clear()
        self._bodies.clear()
        self._again_at = self._clock.monotonic() + AGAIN_S
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                Path(f"{self._path}{suffix}").unlink()


def _snapshot(
    node_id: str, named: list[tuple[str, str, str]] | None, bodies: Mapping[str, bytes]
) -> NodeSnapshot | None:
    """The set as it was written. Raises `ValueError` or `KeyError` where it is not whole."""
    if named is None:
        return None
    artifacts = [Artifact(kind, name, bodies[version]) for kind, name, version in named]
    for artifact, (_, name, version) in zip(artifacts, named, strict=True):
        if artifact.version != version:
            raise ValueError(f"`{name}` is not what was written")
    return NodeSnapshot.of(node_id, artifacts)
