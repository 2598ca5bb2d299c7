"""Callers: a steady stream of requests through a sidecar, counted by what became of each.

Open loop: requests leave at their rate whether or not earlier ones have come back, as real callers do, so that a slow
mesh shows as waiting requests and not as fewer of them.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
from dataclasses import dataclass, field

import httpx

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.demo.apps import INJECTED


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of request: what is sent, and how many a second."""

    method: str
    url: str
    per_second: float


@dataclass(slots=True)
class Tally:
    """What became of the requests so far. `lost` = failed, and no injected error explains it."""

    requests: int = 0
    injected: int = 0
    lost: int = 0
    reasons: collections.Counter[str] = field(default_factory=collections.Counter)

    def copy(self) -> Tally:
        """These counts as they are now."""
        return Tally(self.requests, self.injected, self.lost, collections.Counter(self.reasons))


class Load:
    """Sends every stream through the sidecar at `proxy` until it is stopped."""

    def __init__(self, proxy: str, streams: tuple[Stream, ...], clock: Clock, *, timeout_s: float = 5.0) -> None:
        self._clock = clock
        self._streams = streams
        self._client = httpx.AsyncClient(
            proxy=proxy,
            timeout=timeout_s,
            trust_env=False,
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )
        self._senders: list[asyncio.Task[None]] = []
        self._flying: set[asyncio.Task[None]] = set()
        self.tally = Tally()

    async def until_answered(self, within_s: float) -> None:
        """Return when every stream gets good answers; what is sent here is not counted.

        Raises `Stalled` with the last answer after `within_s` seconds.
        """
        end = self._clock.monotonic() + within_s
        for stream in self._streams:
            while (trouble := await self._probe(stream)) and self._clock.monotonic() < end:
                await self._clock.sleep(0.1)
            if trouble:
                raise Stalled(f"{stream.method} {stream.url} is not answered: {trouble}")

    def start(self) -> None:
        """Begin to send."""
        self._senders = [asyncio.create_task(self._send(stream)) for stream in self._streams]

    async def stop(self) -> None:
        """Send no more, wait for the answers that are due, and close the connections."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await asyncio.gather(*self._flying, return_exceptions=True)
        await self._client.aclose()

    async def _probe(self, stream: Stream) -> str:
        """What is wrong with one answer of three (there may be several instances); empty if nothing is."""
        for _ in range(3):
            try:
                reply = await self._client.request(stream.method, stream.url)
            except httpx.HTTPError as error:
                return type(error).__name__
            if reply.status_code >= 400:
                return f"{reply.status_code} {reply.text[:120]}"
        return ""

    async def _send(self, stream: Stream) -> None:
        start = self._clock.monotonic()
        for number in itertools.count(1):
            due = start + number / stream.per_second
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            request = asyncio.create_task(self._request(stream))
            self._flying.add(request)
            request.add_done_callback(self._flying.discard)

    async def _request(self, stream: Stream) -> None:
        self.tally.requests += 1
        try:
            reply = await self._client.request(stream.method, stream.url)
        except httpx.HTTPError as error:
            self._lose(stream, type(error).__name__)
            return
        if reply.headers.get(INJECTED):
            self.tally.injected += 1
        elif reply.status_code >= 400:
            self._lose(stream, f"{reply.status_code} {reply.text[:120]}")

    def _lose(self, stream: Stream, why: str) -> None:
        self.tally.lost += 1
        self.tally.reasons[f"{stream.method} {stream.url}: {why}"] += 1
