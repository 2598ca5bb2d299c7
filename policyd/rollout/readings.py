"""What proxies count, read for two readers: the releases under way, tick by tick, and people, more slowly.

`driver` decides by the first; nothing is decided by the second, which shows in `status`.
"""

from __future__ import annotations

from collections.abc import Callable

from policyd.base.clock import Clock
from policyd.telemetry.counters import Tick, difference
from policyd.telemetry.edges import Edges
from policyd.telemetry.observed import Observed
from policyd.telemetry.rates import Rates
from policyd.telemetry.source import MetricSource, NodeCounters, Reading
from policyd.telemetry.totals import EdgeTotals

RATES_NODES = 100
"""Nodes that are read in one tick for the rates that people see; a larger mesh is read over several."""


class Readings:
    """The last reading of each kind, and what came after it."""

    def __init__(self, metrics: MetricSource, clock: Clock, tick_s: float) -> None:
        """`tick_s`: seconds between two reads for people."""
        self._metrics = metrics
        self._clock = clock
        self._tick_s = tick_s
        self._last: Reading | None = None
        self.rates = Rates()
        self.observed = Observed()
        self.edges = Edges()
        self.totals = EdgeTotals()

    async def tick(self, watched: tuple[str, ...]) -> Tick | None:
        """What happened at these nodes since the tick before; `None` where nobody is watched."""
        before, self._last = self._last, None
        if not watched:
            return None
        self._last = await self._metrics.read(watched)
        # The first look at a release: its nodes can be read, and nothing has happened yet.
        return difference(before if before is not None else self._last, self._last)

    async def keep_rates(self, nodes: Callable[[], tuple[str, ...]]) -> None:
        """Keep the rates that people see up to date; never ends by itself.

        Apart from the ticks, some nodes at a time: a large mesh takes a while.
        """
        before: Reading | None = None
        while True:
            counted: dict[str, NodeCounters] = {}
            there = nodes()
            for start in range(0, len(there), RATES_NODES):
                counted.update((await self._metrics.read(there[start : start + RATES_NODES])).nodes)
                await self._clock.sleep(self._tick_s)
            if not there:
                await self._clock.sleep(self._tick_s)
            reading = Reading(self._clock.monotonic(), counted)
            tick = difference(before if before is not None else Reading(reading.at_s), reading)
            self.edges.add(tick, reading, asked=there, at=self._clock.now())
            if before is not None:
                self.rates.add(tick)
                self.observed.add(tick)
                self.totals.add(tick)
            before = reading
