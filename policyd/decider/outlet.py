"""Where a decision log goes: standard output, a file, or a service of OPA's kind; each on a thread of its own.

log -> Outlet (what waits, bounded) -> its thread -> sink

Writing may take as long as it likes, or fail: answers never wait for it. What does not fit into the bounded queue, or
could not be written, is counted. A service that is away is given what waited, once it is back; a file whose disk
is full is not, since a part of it may be written already.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from policyd.decider.sinks import Away, FileSink, Lines, Sink

AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Between two tries to reach a service that is away."""


class Outlet:
    """A sink behind a bounded queue and a thread.

    What waits for a sink that is away is offered again, at longer and longer intervals (`again_s`, seconds), for as
    long as it fits. A line is some 400 bytes at least, so that a bound in bytes is one in lines, too.
    """

    def __init__(self, sink: Sink, *, waiting_bytes: int, again_s: Sequence[float] = AGAIN_S) -> None:
        self._sink = sink
        self._bound = waiting_bytes
        self._again_s = again_s
        self._waiting_lines = 0
        self._queue: queue.SimpleQueue[tuple[Lines, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._closed = self._given_up = False
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()
        self.lost = 0
        """Lines that were not written, and will not be."""
        self.waiting = 0
        """Bytes that are not written yet."""
        self.trouble = ""
        """Why the last batch was not written; empty where it was."""

    def put(self, lines: Lines, size: int) -> None:
        """Have the lines written, as many of them as may wait; the rest is lost. `size`: all of their bytes."""
        with self._lock:
            if self.waiting + size > self._bound:
                fitting = _fitting(lines, self._bound - self.waiting)
                self.lost += len(lines) - len(fitting)
                lines, size = fitting, sum(map(len, fitting))
            self.waiting += size
            self._waiting_lines += len(lines)
        if lines:
            self._queue.put((lines, size))

    def finish(self) -> None:
        """Nothing more comes: a sink that is away is asked once more, and not waited for any longer."""
        self._ending.set()
        self._queue.put(None)

    def close(self, patience_s: float) -> None:
        """Write what waits, for so long at most; the rest is lost."""
        self.finish()
        self._thread.join(patience_s)
        with self._lock:
            self._closed = True
            self.lost += self._waiting_lines

    def _run(self) -> None:
        try:
            self._write_on()
        finally:
            self._sink.close()

    def _write_on(self) -> None:
        while (order := self._queue.get()) is not None:
            lines, size = order
            written = not self._given_up and self._written(lines)
            with self._lock:
                if self._closed:
                    return
                self.waiting -= size
                self._waiting_lines -= len(lines)
                self.lost += 0 if written else len(lines)

    def _written(self, lines: Lines) -> bool:
        """Whether the lines were written, sooner or later."""
        tried = 0
        while True:
            last = self._ending.is_set()
            try:
                self._sink.write(lines)
            except Away as error:
                self.trouble = str(error)
                if last:
                    self._given_up = True
                    return False
            except OSError as error:
                self.trouble = str(error) or type(error).__name__
                return False
            else:
                self.trouble = ""
                return True
            self._ending.wait(self._again_s[min(tried, len(self._again_s) - 1)])
            tried += 1


def _fitting(lines: Lines, room: int) -> Lines:
    """The first lines that come to no more than `room` bytes."""
    ends = itertools.accumulate(map(len, lines))
    return lines[: sum(1 for _ in itertools.takewhile(lambda end: end <= room, ends))]


def open_sink(target: str, *, token: str = "") -> Sink:
    """The sink that a setting means: `-`, a URL, or a path. Raises `OSError` where it cannot be opened."""
    if target.startswith(("http://", "https://")):
        from policyd.decider.upload import UploadSink  # noqa: PLC0415 - a client of HTTP is 9 MB of every worker

        return UploadSink(target, token=token)
    return FileSink(target if target == "-" else str(Path(target)))
