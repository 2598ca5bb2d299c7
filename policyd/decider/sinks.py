"""Where a decision log goes: standard output, a file, or a service of OPA's kind; each on a thread of its own.

Writing may take as long as it likes, or fail: answers never wait for it. What does not fit into the bounded queue, or
could not be written, is counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Lines = Sequence[bytes]
"""JSON objects, without the newline."""


class Sink(Protocol):
    """Takes batches of lines. Called on the sink's own thread."""

    def write(self, lines: Lines) -> None:
        """Write all of them. Raises `OSError`."""
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


class Outlet:
    """A sink behind a bounded queue and a thread."""

    def __init__(self, sink: Sink, *, waiting_bytes: int) -> None:
        self._sink = sink
        self._bound = waiting_bytes
        self._waiting = 0
        self._queue: queue.SimpleQueue[tuple[Lines, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()
        self.lost = 0
        """Lines that were not written."""
        self.trouble = ""
        """Why the last batch was not written; empty where it was."""

    def put(self, lines: Lines, size: int) -> None:
        """Have the lines written; where too much waits already, they are lost."""
        with self._lock:
            if self._waiting + size > self._bound:
                self.lost += len(lines)
                return
            self._waiting += size
        self._queue.put((lines, size))

    def close(self, patience_s: float) -> None:
        """Write what waits, for so long at most; the rest is lost."""
        self._queue.put(None)
        self._thread.join(patience_s)

    def _run(self) -> None:
        while (order := self._queue.get()) is not None:
            lines, size = order
            try:
                self._sink.write(lines)
            except OSError as error:
                with self._lock:
                    self.lost += len(lines)
                self.trouble = str(error) or type(error).__name__
            else:
                self.trouble = ""
            with self._lock:
                self._waiting -= size


def open_sink(target: str, *, token: str = "") -> Sink:
    """The sink that a setting means: `-`, a URL, or a path. Raises `OSError` where it cannot be opened."""
    if target.startswith(("http://", "https://")):
        from policyd.decider.upload import UploadSink  # noqa: PLC0415 - a client of HTTP is 9 MB of every worker

        return UploadSink(target, token=token)
    return FileSink(target if target == "-" else str(Path(target)))
