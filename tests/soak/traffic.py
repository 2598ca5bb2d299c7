"""Requests that never stop, and the rule that says which of their failures an injected fault explains.

A request is *explained* if, at some instant between its being sent and its end, a proxy on its path was down: from
the moment that it is killed until calls through it are answered again. A killed controller explains nothing, nor
does a commit, good, bad or refused. Errors that the application makes on purpose (version v3) carry a header and are
no failures of the mesh. A request that no rule allows must never be answered with success, fault or not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from policyd.base.clock import Clock
from policyd.demo.apps import INJECTED

ALLOWED = ("GET", "http://back/v1/items")
FORBIDDEN = ("DELETE", "http://back/v1/items")
PER_SECOND = 60.0
FORBIDDEN_PER_SECOND = 5.0
TIMEOUT_S = 20.0
PROBES = 12
"""Answers in a row after which a path counts as whole: more than `back` has instances that serve at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that did not end as it should."""

    begun: float
    ended: float
    why: str


@dataclass(slots=True)
class Faults:
    """When proxies were down, by the clock that requests are timed with."""

    clock: Clock
    windows: list[tuple[float, float]] = field(default_factory=list)

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """A proxy is down while this is open."""
        begun = self.clock.monotonic()
        self.windows.append((begun, float("inf")))
        here = len(self.windows) - 1
        yield
        self.windows[here] = (begun, self.clock.monotonic())

    def explains(self, failure: Failure) -> bool:
        """Whether a proxy was down at some instant of the request's life."""
        return any(begun <= failure.ended and failure.begun <= ended for begun, ended in self.windows)

    @property
    def seconds(self) -> float:
        """How long some proxy was down in all."""
        return sum(ended - begun for begun, ended in self.windows)


class Traffic:
    """Front's calls: open loop, as real callers, through its sidecar at `proxy`."""

    def __init__(self, proxy: str, clock: Clock) -> None:
        self._clock = clock
        self._client = httpx.AsyncClient(
            proxy=proxy,
            timeout=TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_connections=512, max_keepalive_connections=64),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests = 0
        self.on_purpose = 0
        self.failures: list[Failure] = []
        self.opened: list[Failure] = []
        """Forbidden requests that were answered with success."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send until the end, then wait for the answers that are due."""
        senders = [
            asyncio.create_task(self._send(self._allowed, PER_SECOND)),
            asyncio.create_task(self._send(self._forbidden, FORBIDDEN_PER_SECOND)),
        ]
        try:
            yield
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._client.aclose()

    async def until_whole(self, within_s: float = 30.0) -> None:
        """Return when calls are answered again, several in a row; raises `TimeoutError` if they never are."""
        good = 0
        async with asyncio.timeout(within_s):
            while good < PROBES:
                with contextlib.suppress(httpx.HTTPError):
                    reply = await self._client.request(*ALLOWED, timeout=2.0)
                    well = reply.status_code < 400 or reply.headers.get(INJECTED)
                    good = good + 1 if well else 0
                    if well:
                        continue
                good = 0
                await self._clock.sleep(0.05)

    async def _send(self, one: Callable[[], object], per_second: float) -> None:
        start, number = self._clock.monotonic(), 0
        while True:
            number += 1
            await self._clock.sleep(max(0.0, start + number / per_second - self._clock.monotonic()))
            task = asyncio.ensure_future(one())  # type: ignore[call-overload]
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _allowed(self) -> None:
        self.requests += 1
        begun = self._clock.monotonic()
        try:
            reply = await self._client.request(*ALLOWED)
        except httpx.HTTPError as error:
            self.failures.append(Failure(begun, self._clock.monotonic(), repr(error)))
            return
        if reply.headers.get(INJECTED):
            self.on_purpose += 1
        elif reply.status_code != 200:
            why = f"{reply.status_code} {reply.text[:200]}"
            self.failures.append(Failure(begun, self._clock.monotonic(), why))

    async def _forbidden(self) -> None:
        begun = self._clock.monotonic()
        with contextlib.suppress(httpx.HTTPError):
            reply = await self._client.request(*FORBIDDEN)
            if reply.status_code < 400 or reply.headers.get(INJECTED):
                self.opened.append(Failure(begun, self._clock.monotonic(), f"{reply.status_code} {reply.text[:200]}"))
