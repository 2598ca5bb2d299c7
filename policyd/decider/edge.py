"""The HTTP edge: bytes in, whole requests to the service, bytes out; and what a client may not do.

Written on `asyncio.Protocol`, since a framework takes several times as long as the decision. Bytes become requests in
`reading`. Everything that a client can make large, slow or endless has its bound in `Limits`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable
from typing import Any

from policyd.decider.exchange import Exchange, Heads, Refusal, Service
from policyd.decider.known_heads import Known, KnownHeads
from policyd.decider.limits import Limits
from policyd.decider.mishap import mishap
from policyd.decider.reading import Reader

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Edge:
    """All connections of one worker. `sweep` has to be called about once a second."""

    def __init__(self, service: Service, heads: Heads, limits: Limits) -> None:
        self.service = service
        self.heads = heads
        self.limits = limits
        self.known = KnownHeads()
        self.connections: set[Connection] = set()
        self.stopping = False
        self.now = asyncio.get_running_loop().time()
        """The loop's time when it was last swept: as exact as times that are over have to be."""
        self._empty = asyncio.Event()
        self._empty.set()

    def connect(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self)

    def sweep(self, now: float) -> None:
        """End the connections whose time is over; `now` is the loop's time."""
        self.now = now
        for connection in [each for each in self.connections if each.deadline <= now]:
            connection.expire()

    async def drain(self) -> None:
        """Let every client have its answers, and end. Who keeps a connection gets an answer more, with `close`."""
        self.stopping = True
        await self._emptied(self.limits.drain_s)
        for connection in list(self.connections):
            connection.close_when_idle()
        await self._emptied(self.limits.request_s)
        for connection in list(self.connections):
            connection.abort()

    def add(self, connection: Connection) -> None:
        """A client came."""
        self.connections.add(connection)
        self._empty.clear()

    def remove(self, connection: Connection) -> None:
        """A client is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def _emptied(self, patience_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._empty.wait()


class Connection(asyncio.Protocol):
    """One client. Requests are answered in their order; no more is read than is being answered."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._limits = edge.limits
        self._loop = asyncio.get_running_loop()
        self._reader: Reader
        self._transport: Any = None
        self._peer = b""
        self._waiting: deque[Exchange | Refusal] = deque()
        self._backlog = b""
        self._asked: asyncio.Future[bytes] | None = None
        self._writable = True
        self._ending = False
        self._paused = False
        self._turn = False
        self._half_closed = False
        self.deadline = 0.0

    # What the transport says.

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        self._transport = transport
        transport.set_write_buffer_limits(high=self._limits.unsent)
        peer = transport.get_extra_info("peername") or ("", 0)
        address = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
        self._peer = address.encode()
        self._reader = Reader(
            self._peer, self._limits, self._edge.known, taken=self._waiting.append, go_on=self._say_go_on
        )
        self.deadline = self._loop.time() + self._limits.request_s
        self._edge.add(self)
        if len(self._edge.connections) > self._limits.connections:
            self._refuse(Refusal(503, "too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what was asked for it elsewhere is not needed any more."""
        self._edge.remove(self)
        self._ending = True
        self._waiting.clear()
        if self._asked is not None:
            self._asked.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what fits into one turn, and the rest when the others had theirs."""
        if self._ending:
            return  # what follows a refusal is read and thrown away, so that the refusal can be seen
        if self._backlog or self._waiting or self._turn:
            self._backlog += data
            self._settle()
        else:
            self._take(data)

    def eof_received(self) -> bool:
        """The client sends no more; it may still read."""
        self._half_closed = True
        return not self._ending and bool(self._waiting or self._backlog or self._asked)

    def pause_writing(self) -> None:
        """The client does not read: nothing more is taken from it until it does."""
        self._writable = False
        self.deadline = self._loop.time() + self._limits.unread_s
        self._settle()

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable = True
        self._go_on()

    # Turns.

    def _take(self, data: bytes) -> None:
        """Read one turn's worth of input, and answer what it holds."""
        size, reader = self._limits.slice, self._reader
        if len(data) > size:
            data, self._backlog = data[:size], data[size:]
        known = reader.known(data)
        if known is not None and not self._paused and known.plain and self._quick(known, data):
            return
        refusal = reader.read(data, known)
        if reader.began:
            reader.began = False
            self.deadline = self._edge.now + self._limits.request_s
        if refusal is not None:
            self._backlog = b""
            self._waiting.append(refusal)
        self._drain()

    def _quick(self, known: Known, data: bytes) -> bool:
        """Answer a whole request at once, where nothing waits and there is a short way to its answer."""
        edge = self._edge
        if edge.stopping:
            return False
        try:
            answer = edge.service.quick(known.target, data[len(known.head) :], self._peer)
        except Exception:  # the long way meets it again, and says so
            return False
        if answer is None:
            return False
        self._transport.write(answer)
        if not self._paused:
            self.deadline = edge.now + self._limits.idle_s
        return True

    def _say_go_on(self) -> None:
        if not self._waiting and self._asked is None:
            self._transport.write(CONTINUE)

    def _drain(self) -> None:
        """Answer what waits, as far as that goes at once, and write it in one piece."""
        written: list[bytes] = []
        while self._waiting and self._asked is None and self._writable and not self._ending:
            exchange = self._waiting.popleft()
            if isinstance(exchange, Refusal):
                written.append(self._refused(exchange))
                break
            if self._edge.stopping:
                exchange.keep_alive = False
            try:
                answer = self._edge.service.answer(exchange)
            except Exception as error:
                answer = mishap(self._edge.heads, exchange, error)
            if not isinstance(answer, bytes):
                self._await(answer, exchange)
                break
            written.append(answer)
            if not exchange.keep_alive:
                self._end(written)
                return
        if written:
            self._transport.write(written[0] if len(written) == 1 else b"".join(written))
            if self._ending:
                self._discard()
                return
        self._settle()

    def _settle(self) -> None:
        """Read on only when nothing waits; have a next turn where something can be done at once."""
        if self._ending:
            return
        held = bool(self._backlog or self._waiting or self._asked is not None or not self._writable)
        if held != self._paused:
            self._paused = held
            (self._transport.pause_reading if held else self._transport.resume_reading)()
        if held and self._asked is None and self._writable and not self._turn:
            self._turn = True
            self._loop.call_soon(self._next_turn)
        elif not held and self._half_closed:
            self._transport.close()
        elif not held and not self._reader.half_read:
            self.deadline = self._edge.now + self._limits.idle_s

    def _next_turn(self) -> None:
        self._turn = False
        self._go_on()

    def _go_on(self) -> None:
        if self._ending or self._turn:
            return
        if self._waiting:
            self._drain()
        elif self._backlog:
            data, self._backlog = self._backlog, b""
            self._take(data)
        else:
            self._settle()

    def _await(self, answer: Awaitable[bytes], exchange: Exchange) -> None:
        """The answer comes later; those behind it wait."""
        self._asked = asyncio.ensure_future(answer)
        self._asked.add_done_callback(lambda done: self._answered(done, exchange))
        self.deadline = self._loop.time() + self._limits.request_s

    def _answered(self, done: asyncio.Future[bytes], exchange: Exchange) -> None:
        self._asked = None
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if self._ending:
            return
        answer = done.result() if error is None else mishap(self._edge.heads, exchange, error)
        if not exchange.keep_alive:
            self._end([answer])
            return
        self._transport.write(answer)
        self._go_on()

    # Ends.

    def expire(self) -> None:
        """The time for what is going on is over."""
        if self._ending or not self._writable or not (self._reader.half_read or self._waiting or self._asked):
            self.abort() if self._ending or not self._writable else self._transport.close()
        elif self._asked is not None:
            self._refuse(Refusal(504, "what was asked for this gave no answer"))
        else:
            self._refuse(Refusal(408, "the request did not arrive in time"))

    def close_when_idle(self) -> None:
        """End the connection unless a request is under way."""
        if not (self._reader.half_read or self._waiting or self._backlog or self._asked):
            self._transport.close()

    def abort(self) -> None:
        """End the connection as it is."""
        self._ending = True
        self._transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, as the last thing on this connection."""
        self._transport.write(self._refused(refusal))
        self._discard()

    def _refused(self, refusal: Refusal) -> bytes:
        self._ending = True
        return refusal.response(self._edge.heads)

    def _end(self, written: list[bytes]) -> None:
        """Write the last answers and close."""
        self._ending = True
        self._transport.write(b"".join(written))
        self._transport.close()

    def _discard(self) -> None:
        """Close for writing; a client that still sends would otherwise be cut off before it reads why."""
        self.deadline = self._loop.time() + self._limits.discard_s
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
