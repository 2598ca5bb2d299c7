"""The decision log, in the format of OPA's: one event for every decision, gathered and handed on in batches.

A line is put together from parts that are JSON already; a logging library would halve the rate of answers.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import orjson

from policyd.decider.masks import Masks
from policyd.decider.outlet import Outlet

GATHER_S = 0.05
"""How long a line waits for others; a worker that is killed loses so much."""
BATCH_LINES, BATCH_BYTES = 2000, 256 * 1024
NO_INPUT: Any = object()
"""In the place of an input, where there was none."""
_TAIL = (
    b'%09dZ","metrics":{"timer_server_handler_ns":%d},"req_id":%d,'
    b'"type":"openpolicyagent.org/decision_logs","level":"info","msg":"Decision Log"}'
)


class DecisionIds:
    """UUIDs of version 4. Random bytes are fetched for many, who share all but the last 48 bits of theirs."""

    def __init__(self) -> None:
        self._shared = b""
        self._pool = b""
        self._at = 0

    def next(self) -> bytes:
        """One that nobody has seen, in ASCII."""
        at = self._at
        if at >= len(self._pool):
            h, self._pool, at = os.urandom(10).hex(), os.urandom(6 * 256).hex().encode(), 0
            self._shared = f"{h[:8]}-{h[8:12]}-4{h[12:15]}-{'89ab'[int(h[15], 16) & 3]}{h[16:19]}-".encode()
        self._at = at + 12
        return self._shared + self._pool[at : at + 12]


class DecisionLog:
    """The log of one worker."""

    def __init__(self, outlets: tuple[Outlet, ...], masks: Masks | None, labels: dict[str, str]) -> None:
        self._outlets = outlets
        self.masks = masks
        self._head = b'{"labels":%b,"decision_id":"' % orjson.dumps(labels)
        self._lines: list[bytes] = []
        self._size = 0
        self._due: asyncio.TimerHandle | None = None
        self._second = 0
        self._stamp = b""
        self._number = 0
        self.dropped = 0
        """Events that the settings ask not to be written."""

    @property
    def lost(self) -> int:
        """Events that should have been written and were not."""
        return sum(outlet.lost for outlet in self._outlets)

    @property
    def waiting(self) -> int:
        """Bytes that have been handed on and are not written yet."""
        return sum(outlet.waiting for outlet in self._outlets)

    @property
    def trouble(self) -> str:
        """Why events cannot be written; empty where they can."""
        return "; ".join(outlet.trouble for outlet in self._outlets if outlet.trouble)

    def add(
        self,
        decision: bytes,
        path: bytes,
        asked: object,
        result: bytes | None,
        handled_ns: int,
        *,
        bundles: bytes,
        peer: bytes,
        batch: bytes = b"",
    ) -> None:
        """Write down a decision; `path` and `result` are JSON, no result is an undefined document."""
        marks = b""
        if self.masks is not None:
            masked = self._masked(self.masks, asked, result)
            if masked is None:
                self.dropped += 1
                return
            asked, result, marks = masked
        said = b'","bundles":%b,"path":%b%b%b%b' % (
            bundles,
            path,
            b"" if asked is NO_INPUT else b',"input":' + orjson.dumps(asked),
            b"" if result is None else b',"result":' + result,
            marks,
        )
        self.append(
            decision if not batch else b'%b","batch_decision_id":"%b' % (decision, batch), said, peer, handled_ns
        )

    def append(self, decision: bytes, said: bytes, peer: bytes, handled_ns: int) -> None:
        """Write down what needs no mask: `said` is JSON from the end of the id to the end of the result."""
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime('","timestamp":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
        self._number += 1
        tail = _TAIL % (rest, handled_ns, self._number)
        line = b"".join((self._head, decision, said, b',"requested_by":"', peer, self._stamp, tail))
        lines = self._lines
        lines.append(line)
        self._size = size = self._size + len(line)
        if size >= BATCH_BYTES or len(lines) >= BATCH_LINES:
            self.flush()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    @staticmethod
    def _masked(masks: Masks, asked: object, result: bytes | None) -> tuple[object, bytes | None, bytes] | None:
        """Input and result without what must not be written, and what was erased; `None` for a whole event."""
        event: dict[str, Any] = {} if asked is NO_INPUT else {"input": asked}
        if result is not None:
            event["result"] = orjson.loads(result)
        if masks.dropped(event):
            return None
        event, places = masks.erased(event)
        if not places:
            return asked, result, b""
        left = orjson.dumps(event["result"]) if "result" in event else None
        return event.get("input", NO_INPUT), left, b',"erased":' + orjson.dumps(places)

    def flush(self) -> None:
        """Hand on what has been gathered."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._lines:
            lines, size = self._lines, self._size
            self._lines, self._size = [], 0
            for outlet in self._outlets:
                outlet.put(lines, size)

    def close(self, patience_s: float = 5.0) -> None:
        """Write all of it, in the time that is given for all outlets together."""
        self.flush()
        for outlet in self._outlets:
            outlet.finish()
        ends = time.monotonic() + patience_s
        for outlet in self._outlets:
            outlet.close(max(0.0, ends - time.monotonic()))
