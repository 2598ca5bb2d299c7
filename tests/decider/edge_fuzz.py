"""Any bytes, in any pieces, into the HTTP edge, and what has to hold whatever they are.

Shared by `fuzz_edge.py`, which runs for as long as one likes under atheris, and `test_edge_fuzz.py`, which sees to it
that this still works. The transport is the sibling of uvloop's: it keeps back what is sent while reading is paused.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import httptools

from policyd.decider.edge import CONTINUE, Edge
from policyd.decider.limits import Limits
from tests.decider.inside import edge

LIMITS = Limits(head=2048, body=4096, slice=512, batch=20)
"""Small, so that short inputs reach them."""
TURNS = 10_000
QUIET = 4
"""So many turns of the loop without a word, and nothing more is coming."""
KNOWN = frozenset({200, 400, 401, 404, 405, 408, 413, 417, 431, 501, 503, 505})
_TIMES = re.compile(rb'"timer_server_handler_ns": ?\d+')


class Response(NamedTuple):
    status: int
    body: bytes

    @property
    def refusal(self) -> bool:
        """Whether what was sent is not taken."""
        return self.status >= 400


class Wire:
    """A transport in memory."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.paused = False
        self.closed = False
        self.shut = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 7) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        assert not self.shut, "written behind the end"
        if not self.closed:
            self.written += data

    def pause_reading(self) -> None:
        assert not self.paused, "paused twice"
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused, "resumed, and was not paused"
        self.paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.shut = True

    def close(self) -> None:
        self.closed = True

    abort = close


class Rig:
    """One loop for many runs; `close` it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._failed: list[dict[str, Any]] = []
        self._loop.set_exception_handler(lambda loop, about: self._failed.append(about))
        self._warm = self._loop.run_until_complete(self._new())

    def close(self) -> None:
        """No more runs."""
        self._loop.close()

    def run(self, pieces: Sequence[bytes], *, warm: bool = False) -> list[Response]:
        """Send the pieces over one connection; the answers, all of them whole. Raises `AssertionError`.

        `warm`: to an edge that remembers what it read in all runs before.
        """
        wire = self._loop.run_until_complete(self._sent(pieces, self._warm if warm else None))
        assert not self._failed, self._failed
        return responses(bytes(wire.written))

    async def _new(self) -> Edge:
        return edge(limits=LIMITS)

    async def _sent(self, pieces: Sequence[bytes], warm: Edge | None) -> Wire:
        of = warm or await self._new()
        wire, connection = Wire(), of.connect()
        connection.connection_made(wire)
        waiting = list(pieces)
        quiet, known = 0, -1
        for _ in range(TURNS):
            if waiting and not wire.paused and not wire.closed:
                connection.data_received(waiting.pop(0))
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(wire.written) == known else 0
            known = len(wire.written)
            if (not waiting or wire.closed) and quiet > QUIET:
                break
        else:
            raise AssertionError("it never comes to rest")
        assert wire.closed or not wire.paused, "it stands still: nothing is read, and nothing answered"
        connection.connection_lost(None)
        assert not of.connections
        return wire


def responses(written: bytes) -> list[Response]:
    """The answers, without the interim ones. Raises `AssertionError` where they are no HTTP, or not whole."""
    found: list[Response] = []
    parser: Any

    class Reader:
        body = b""

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            found.append(Response(parser.get_status_code(), _TIMES.sub(b'"timer_server_handler_ns":0', self.body)))
            self.body = b""

    parser = httptools.HttpResponseParser(Reader())
    rest = written.replace(CONTINUE, b"")
    try:
        parser.feed_data(rest)
    except httptools.HttpParserError as error:
        raise AssertionError(f"no HTTP: {error}: {rest[-300:]!r}") from error
    assert rest.count(b"HTTP/1.1 ") == len(found), "the last answer is not whole"
    return found


def check(rig: Rig, sent: bytes, cuts: Sequence[int]) -> list[Response]:
    """What has to hold: known answers, no mistake of ours, the same ones however and after whatever they arrive."""
    bounds = sorted({0, len(sent), *(cut % (len(sent) + 1) for cut in cuts)})
    pieces = [sent[start:end] for start, end in itertools.pairwise(bounds)]
    answers = rig.run(pieces)
    for answer in answers:
        assert answer.status in KNOWN, answer
    assert all(answer.status < 500 or answer.status in {501, 503, 505} for answer in answers)
    for whole in (rig.run([sent]), rig.run([sent], warm=True), rig.run(pieces, warm=True)):
        _alike(answers, whole)
    return answers


def _alike(answers: list[Response], whole: list[Response]) -> None:
    if answers and whole and answers[-1].refusal and whole[-1].refusal:
        # Of two things that are wrong in one head, the parser may come to one or the other first.
        assert whole[:-1] == answers[:-1], "it matters how the bytes arrive"
    else:
        assert whole == answers, "it matters how the bytes arrive"
