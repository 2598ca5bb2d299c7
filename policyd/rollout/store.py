"""Remembers across restarts, in one SQLite file: what is promoted, what is in flight, what may not come back.

State is written before it is acted on, so whatever instant the controller is killed at, the same stage goes on. One
process writes; every method is one transaction, in WAL mode with full synchronisation: when it returns, it is on
disk. Values are JSON beside their content digest, which is verified when they are read back.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from policyd.base.content import digest
from policyd.base.errors import PolicydError, Retry, Stalled
from policyd.base.sqlite import transaction
from policyd.model.access import Access
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.revocation import Revocation
from policyd.model.service import Service
from policyd.plan.change import Unit, Value
from policyd.rollout.content import content_digest
from policyd.rollout.migrations import migrate
from policyd.rollout.record import Evidence
from policyd.rollout.release import Release, evidence_of

KNOWN_GOOD = 10
"""How many promotions of one unit back its content still counts as known good."""
VERDICTS = 2_000
"""How many verdicts of one release are kept; older ones go first."""
HISTORY = 500
"""How many releases that are over, and how many commits, are kept."""

UnitKey = tuple[Unit, Name]

_RELEASE = TypeAdapter(Release)
_EVIDENCE = TypeAdapter(Evidence)
_VALUES: Mapping[Unit, TypeAdapter[Value]] = {
    Unit.SETTINGS: TypeAdapter(Settings),
    Unit.SERVICE: TypeAdapter(Service),
    Unit.ACCESS: TypeAdapter(Access),
}


@dataclass(frozen=True, slots=True)
class SeenCommit:
    """A commit that was judged. `findings` are lines for people."""

    commit: str
    author: str
    taken: bool
    at: datetime
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """One tick's decision about one release."""

    at: datetime
    verdict: str
    reason: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Cut:
    """A revocation, and since when it holds."""

    revocation: Revocation
    since: datetime


_CUT = TypeAdapter(Cut)


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that a controller needs to go on where it was."""

    promoted: Mesh | None = None
    releases: tuple[Release, ...] = ()
    """Those in flight or waiting, and the newest of those that are over, oldest first."""
    quarantine: Mapping[str, str] = field(default_factory=dict)
    """By `content_id`: why."""
    last_number: int = 0
    head: str = ""
    """The last commit that was taken."""
    floor: datetime | None = None
    """The last instant at which a rule was taken as expired."""
    cuts: tuple[Cut, ...] = ()
    """Every revocation that was not lifted."""
    lost: bool = False
    """Whether what was promoted has been forgotten, and nobody has said it since."""


class Store:
    """The file. Every method raises `Retry` while another process holds it and `Stalled` when a person is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            # The driver calls from one task; the thread that it was built in may be another one.
            self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            with self._explained():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                migrate(self._db)
        except PolicydError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def load(self) -> Remembered:
        """What was remembered. Raises `Stalled` where a value does not have the digest that it was stored under."""
        with self._explained():
            releases = self._db.execute("SELECT value FROM release ORDER BY number").fetchall()
            last = self._db.execute("SELECT coalesce(max(number), 0) FROM release").fetchone()[0]
            head = self._db.execute("SELECT id FROM commits WHERE taken ORDER BY seq DESC LIMIT 1").fetchone()
            floor = self._db.execute("SELECT at FROM floor").fetchone()
            cuts = self._db.execute("SELECT value FROM revocation ORDER BY key").fetchall()
            lost = self._db.execute("SELECT 1 FROM lost").fetchone() is not None
            return Remembered(
                promoted=self._promoted(),
                releases=tuple(_RELEASE.validate_json(value) for (value,) in releases),
                quarantine=dict(self._db.execute("SELECT content, reason FROM quarantine")),
                last_number=last,
                head=head[0] if head else "",
                floor=datetime.fromisoformat(floor[0]) if floor else None,
                cuts=tuple(_CUT.validate_json(value) for (value,) in cuts),
                lost=lost,
            )

    def lose(self) -> None:
        """Remember that what was promoted is not known, and forget what was taken for it."""
        with self._transaction():
            self._db.execute("DELETE FROM promoted")
            self._db.execute("DELETE FROM known_good")
            self._db.execute("DELETE FROM release")
            self._db.execute("INSERT OR IGNORE INTO lost VALUES (1)")

    def set_floor(self, at: datetime | None) -> None:
        """Remember the last instant at which a rule was taken as expired; `None` forgets it."""
        with self._transaction():
            self._db.execute("DELETE FROM floor")
            if at is not None:
                self._db.execute("INSERT INTO floor VALUES (1, ?)", (at.isoformat(),))

    def cut(self, cuts: Mapping[str, Cut]) -> None:
        """Remember revocations, by their keys."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO revocation VALUES (?, ?)",
                [(key, _CUT.dump_json(cut).decode()) for key, cut in cuts.items()],
            )

    def lift(self, keys: Iterable[str]) -> None:
        """Forget revocations."""
        with self._transaction():
            self._db.executemany("DELETE FROM revocation WHERE key = ?", [(key,) for key in keys])

    def save(self, *releases: Release) -> None:
        """Write releases as they are now."""
        with self._transaction():
            self._save(releases)

    def step(self, release: Release, at: datetime, evidence: Evidence) -> None:
        """Write a release as it is now and the verdict that led there, together."""
        with self._transaction():
            self._save((release,))
            self._verdict(release, at, evidence)

    def abort(self, release: Release, content: str, at: datetime, evidence: Evidence) -> None:
        """Write a release that goes back, its verdict, and its quarantine if it has one, together."""
        with self._transaction():
            self._save((release,))
            self._verdict(release, at, evidence)
            if release.state.quarantine:
                self._db.execute(
                    "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?)",
                    (content, release.state.quarantine, release.since.isoformat()),
                )

    def promote(self, values: Mapping[UnitKey, Value], releases: Sequence[Release] = ()) -> None:
        """Make `values` the promoted ones (`None` = gone) and write the releases that did it, together."""
        with self._transaction():
            self._db.execute("DELETE FROM lost")
            for (unit, name), value in values.items():
                self._put(unit, name, value)
                self._remember_good(unit, name, value)
            self._save(releases)
            self._db.execute(
                "DELETE FROM release WHERE over AND number <= (SELECT max(number) FROM release) - ?", (HISTORY,)
            )

    def verdicts(self, number: int, last: int = 100) -> tuple[StoredVerdict, ...]:
        """The newest verdicts of a release, oldest first."""
        with self._explained():
            rows = self._db.execute(
                "SELECT at, verdict, reason, evidence FROM verdict WHERE release = ? ORDER BY seq DESC LIMIT ?",
                (number, last),
            ).fetchall()
        return tuple(
            StoredVerdict(datetime.fromisoformat(at), verdict, reason, _EVIDENCE.validate_json(evidence))
            for at, verdict, reason, evidence in reversed(rows)
        )

    def refresh(self, values: Mapping[UnitKey, Value]) -> None:
        """Write promoted values of which only the runtime part (endpoints) changed: no promotion."""
        with self._transaction():
            for (unit, name), value in values.items():
                self._put(unit, name, value)

    def known_good(self, unit: Unit, name: Name, value: Value) -> bool:
        """Whether this content was among the last promotions of its unit."""
        with self._explained():
            found = self._db.execute(
                "SELECT 1 FROM known_good WHERE unit = ? AND name = ? AND content = ?",
                (*_key(unit, name), content_digest(value)),
            ).fetchone()
        return found is not None

    def try_again(self, ended: Release, fresh: Release, content: str, at: datetime) -> None:
        """End a release, lift the quarantine of its content, and write the one that tries it again, together."""
        with self._transaction():
            self._save((ended, fresh))
            self._verdict(ended, at, evidence_of(ended))
            self._db.execute("DELETE FROM quarantine WHERE content = ?", (content,))

    def add_commit(self, seen: SeenCommit) -> None:
        """Remember how a commit was judged: once, however often the newest one is judged alike."""
        said = (seen.commit, seen.taken, "\n".join(seen.findings))
        with self._transaction():
            newest = self._db.execute("SELECT id, taken, findings FROM commits ORDER BY seq DESC LIMIT 1").fetchone()
            if newest == said:
                return
            commit, taken, findings = said
            self._db.execute(
                "INSERT INTO commits (id, author, taken, at, findings) VALUES (?, ?, ?, ?, ?)",
                (commit, seen.author, taken, seen.at.isoformat(), findings),
            )
            self._db.execute("DELETE FROM commits WHERE seq <= (SELECT max(seq) FROM commits) - ?", (HISTORY,))

    def commits(self, last: int = 50) -> tuple[SeenCommit, ...]:
        """The newest judged commits, oldest first."""
        with self._explained():
            rows = self._db.execute(
                "SELECT id, author, taken, at, findings FROM commits ORDER BY seq DESC LIMIT ?", (last,)
            ).fetchall()
        return tuple(
            SeenCommit(commit, author, bool(taken), datetime.fromisoformat(at), tuple(findings.splitlines()))
            for commit, author, taken, at, findings in reversed(rows)
        )

    def _verdict(self, release: Release, at: datetime, evidence: Evidence) -> None:
        decision = release.decision
        self._db.execute(
            "INSERT INTO verdict (release, at, verdict, reason, evidence) VALUES (?, ?, ?, ?, ?)",
            (
                release.number,
                at.isoformat(),
                decision.verdict.value,
                decision.reason,
                _EVIDENCE.dump_json(evidence).decode(),
            ),
        )
        self._db.execute(
            "DELETE FROM verdict WHERE release = ? AND seq <= (SELECT max(seq) FROM verdict WHERE release = ?) - ?",
            (release.number, release.number, VERDICTS),
        )

    def _save(self, releases: Iterable[Release]) -> None:
        self._db.executemany(
            "INSERT INTO release VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET over = excluded.over, "
            "value = excluded.value",
            [(release.number, release.phase.over, _RELEASE.dump_json(release).decode()) for release in releases],
        )

    def _put(self, unit: Unit, name: Name, value: Value) -> None:
        if value is None:
            self._db.execute("DELETE FROM promoted WHERE unit = ? AND name = ?", _key(unit, name))
        else:
            body = _VALUES[unit].dump_json(value).decode()
            self._db.execute(
                "INSERT OR REPLACE INTO promoted VALUES (?, ?, ?, ?)", (*_key(unit, name), digest(value), body)
            )

    def _remember_good(self, unit: Unit, name: Name, value: Value) -> None:
        key = _key(unit, name)
        self._db.execute(
            "INSERT OR REPLACE INTO known_good (unit, name, content, seq) VALUES "
            "(?, ?, ?, (SELECT coalesce(max(seq), 0) + 1 FROM known_good))",
            (*key, content_digest(value)),
        )
        self._db.execute(
            "DELETE FROM known_good WHERE unit = ? AND name = ? AND content NOT IN "
            "(SELECT content FROM known_good WHERE unit = ? AND name = ? ORDER BY seq DESC LIMIT ?)",
            (*key, *key, KNOWN_GOOD),
        )

    def _promoted(self) -> Mesh | None:
        settings: Settings | None = None
        services: dict[Name, Service] = {}
        access: dict[Name, Access] = {}
        for unit, name, stored, body in self._db.execute("SELECT unit, name, digest, value FROM promoted"):
            value = _VALUES[Unit(unit)].validate_json(body)
            if digest(value) != stored:
                raise self._damaged(f"the {unit} of `{name}` is not what was written")
            match value:
                case Settings():
                    settings = value
                case Service():
                    services[value.name] = value
                case Access():
                    access[value.to] = value
                case None:
                    pass
        if settings is None:
            return None
        # A service that never had rules has no row for them, and an entry all the same: nobody may call it.
        access = {name: access.get(name, Access(name)) for name in services}
        return Mesh(settings, dict(sorted(services.items())), dict(sorted(access.items())))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained(), transaction(self._db):
            yield

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into what can be done about them."""
        try:
            yield
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise Retry(
                    f"another process holds `{self._path}`", after=1.0, hint="only one controller may use a store"
                ) from error
            raise Stalled(
                f"the store `{self._path}` cannot be used: {error}",
                hint="check that its folder exists, has room and may be written; forward steps wait until then",
            ) from error
        except (sqlite3.DatabaseError, ValidationError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> Stalled:
        return Stalled(
            f"the store `{self._path}` is damaged: {what}",
            hint="restore the file from a backup, or move it away: proxies then keep what they run until"
            " `policyd recover` says what was promoted; quarantines are forgotten",
        )


def _key(unit: Unit, name: Name) -> tuple[str, str]:
    """The row of a unit. A mesh has one set of settings, whatever it is called."""
    return unit.value, "" if unit is Unit.SETTINGS else str(name)
