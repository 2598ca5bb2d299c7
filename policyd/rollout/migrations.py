"""The shape of the store. Each entry takes the file from one version of the schema to the next, for ever."""

from __future__ import annotations

import sqlite3

from policyd.base.errors import Stalled

MIGRATIONS = (
    """
    CREATE TABLE promoted (
        unit TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (unit, name)
    ) WITHOUT ROWID;
    CREATE TABLE known_good (
        unit TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (unit, name, content)
    ) WITHOUT ROWID;
    CREATE INDEX known_good_seq ON known_good (seq);
    CREATE TABLE release (number INTEGER PRIMARY KEY, over INTEGER NOT NULL, value TEXT NOT NULL);
    CREATE TABLE verdict (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        release INTEGER NOT NULL REFERENCES release (number) ON DELETE CASCADE,
        at TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL, evidence TEXT NOT NULL
    );
    CREATE INDEX verdict_release ON verdict (release, seq);
    CREATE TABLE quarantine (content TEXT PRIMARY KEY, reason TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE commits (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, author TEXT NOT NULL, taken INTEGER NOT NULL,
        at TEXT NOT NULL, findings TEXT NOT NULL
    );
    """,
    # The floor: the last instant at which a rule was taken as expired. At most one row.
    """
    CREATE TABLE floor (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL);
    """,
    # Who is cut off, by what is cut.
    """
    CREATE TABLE revocation (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    # A row: what was promoted is not known, and a person has to say it.
    """
    CREATE TABLE lost (one INTEGER PRIMARY KEY CHECK (one = 1));
    """,
)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the file to the newest schema. Raises `Stalled` for a file that a newer policyd has written."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise Stalled(
            f"the store was written by a newer policyd (schema {version}, known: {len(MIGRATIONS)})",
            hint="install that version again, or move the file away: `policyd recover` then says what was promoted",
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
