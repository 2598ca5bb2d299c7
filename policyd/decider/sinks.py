"""What takes the lines of a decision log, and the simplest that does: standard output, or a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from typing import Protocol

Lines = Sequence[bytes]
"""JSON objects, without the newline."""


class Away(OSError):
    """The sink took nothing, for a reason that is none of the lines': they may be offered again."""


class Sink(Protocol):
    """Takes batches of lines. Called on the sink's own thread."""

    def write(self, lines: Lines) -> None:
        """Write all of them. Raises `OSError`, `Away` where they are worth another try."""
        ...

    def close(self) -> None:
        """Nothing is written any more. Called on the same thread."""
        ...


class FileSink:
    """Appends lines to a file, or to standard output (`-`); whole batches, also beside other workers."""

    def __init__(self, target: str) -> None:
        """Raises `OSError` where the file cannot be opened."""
        # Without waiting: a pipe that nobody reads would keep us from starting, and from ending.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.dup(1) if target == "-" else os.open(target, flags, 0o600)
        if target != "-":
            os.set_blocking(self._file, True)
        self._lock: int | None = None
        self._torn = False
        if target == "-":
            # A pipe takes a long batch in pieces; the lock keeps those of the workers apart. Each opens it anew,
            # since a lock belongs to what was opened.
            with contextlib.suppress(OSError):
                self._lock = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def write(self, lines: Lines) -> None:
        """Write the lines. Where that fails none of them counts as written, and what follows begins on a new line."""
        body = memoryview((b"\n" if self._torn else b"") + b"\n".join(lines) + b"\n")
        held = self._lock if self._lock is not None else self._file
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            while body:
                body = body[os.write(self._file, body) :]
                self._torn = True
            self._torn = False
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        if self._lock is not None:
            os.close(self._lock)
