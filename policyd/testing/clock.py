"""`FakeClock`: the sibling of `SystemClock` whose time moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Starts at `start` (2027-01-01 UTC by default); `advance` wakes every sleeper that is due, in order."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start if start is not None else datetime(2027, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        """The instant that the clock stands at."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by `seconds`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, future))
        await future

    def turn(self, seconds: float) -> None:
        """Set the wall clock alone forward or back, as a person or NTP does; no time passes."""
        self._start += timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Move the time on and wake who is due."""
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
