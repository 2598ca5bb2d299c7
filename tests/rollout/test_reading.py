"""Which counters are read, and when: those that decide something, at every tick; all others at leisure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from policyd.telemetry.source import Reading
from policyd.testing.clock import FakeClock
from policyd.testing.metrics import FakeMetrics
from tests.rollout.world import CHECKOUT, PAYMENTS, World, mesh, service


class Remembering(FakeMetrics):
    """Remembers who was read, and can let something happen in the middle of a reading."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.read_nodes: list[set[str]] = []
        self.begun = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def read(self, nodes: Sequence[str]) -> Reading:
        self.read_nodes.append(set(nodes))
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        return await super().read(nodes)


def watched(folder: Path) -> tuple[World, Remembering]:
    world = World(folder)
    world.metrics = metrics = Remembering(world.clock)
    world.driver = world._driver()
    return world, metrics


async def test_only_the_nodes_that_decide_something_are_read(tmp_path: Path) -> None:
    world, metrics = watched(tmp_path)
    await world.driver.accept("c1", mesh())
    await world.ticks(3)
    assert metrics.read_nodes == []
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    await world.ticks(2)
    assert metrics.read_nodes
    assert {node.split("/")[1] for nodes in metrics.read_nodes for node in nodes} == {"web"}
    world.store.close()


async def test_a_head_does_not_wait_for_a_proxy_that_does_not_answer(tmp_path: Path) -> None:
    world, metrics = watched(tmp_path)
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    metrics.gate = asyncio.Event()
    tick = asyncio.create_task(world.driver.tick())
    await metrics.begun.wait()
    async with asyncio.timeout(10):
        await world.driver.accept("c3", mesh(service(CHECKOUT, "v2"), service(PAYMENTS, "v2")))
    assert {record.name for record in world.driver.records()} == {str(CHECKOUT), str(PAYMENTS)}
    metrics.gate.set()
    await tick
    world.store.close()


async def test_what_moved_during_a_reading_is_left_out_of_that_tick_and_of_the_next(tmp_path: Path) -> None:
    world, metrics = watched(tmp_path)
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    metrics.gate = asyncio.Event()
    tick = asyncio.create_task(world.driver.tick())
    await metrics.begun.wait()
    await world.driver.accept("c3", mesh(service(CHECKOUT, "v2"), service(PAYMENTS, request_ms=9_000)))
    moved = int(world.record(PAYMENTS).id.removeprefix("r"))
    metrics.gate.set()
    metrics.gate = None
    await tick
    assert world.driver._stepper.unsettled == {moved}
    await world.ticks(1)
    assert world.driver._stepper.unsettled == set()
    world.store.close()
