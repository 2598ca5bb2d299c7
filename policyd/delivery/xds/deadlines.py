"""Every push has a deadline: what is not answered by then is taken out again, and that has a deadline as well."""

from __future__ import annotations

import asyncio

from policyd.base.clock import Clock
from policyd.delivery.xds.proxy import Proxy


class Deadlines:
    """One running deadline per proxy; a newer one replaces it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, proxy: Proxy, seconds: float) -> None:
        """Give the proxy `seconds` to acknowledge what it was just assigned."""
        self._cancel(proxy.node_id)
        task = asyncio.create_task(self._wait(proxy, seconds))
        self._running[proxy.node_id] = task

    def stop(self) -> None:
        """Drop all deadlines."""
        for node_id in list(self._running):
            self._cancel(node_id)

    def _cancel(self, node_id: str) -> None:
        task = self._running.pop(node_id, None)
        if task is not None:
            task.cancel()

    async def _wait(self, proxy: Proxy, seconds: float) -> None:
        epoch = proxy.epoch
        await self._clock.sleep(seconds)
        if proxy.overdue(epoch):
            back = proxy.epoch
            await self._clock.sleep(seconds)
            proxy.overdue_back(back)
        self._running.pop(proxy.node_id, None)
