"""Transactions over SQLite, for whatever is kept in a file: all of it is written, or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write what happens inside, together. `db` is in autocommit mode (`isolation_level=None`).

    Raises what SQLite raises, with nothing written and no transaction left open.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        # A commit can fail too (a full disk); left open, it would make every later transaction fail.
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
