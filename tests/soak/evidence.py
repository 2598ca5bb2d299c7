"""What must hold when a soak is over: proxies, store and Git agree, and the controller did not grow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from policyd.base.clock import Clock
from policyd.compiler import registry
from policyd.compiler.memo import Memo
from policyd.delivery.acknowledged import AcknowledgedSets
from policyd.delivery.ledger import Ledger
from policyd.delivery.resource_types import CLUSTER, LISTENER, ROUTE
from policyd.demo.world import World
from policyd.model.mesh import Mesh
from policyd.model.node import Node, nodes
from policyd.rollout.store import Store

Versions = Mapping[tuple[str, str], str]
"""Version of a resource by type URL and name."""
GROWTH_MB = 24.0
"""How much more memory the last third of a soak may take than the first: what an allocator keeps, not what leaks."""


CREEP_MB = 16.0
"""How much it may still grow in the second half, by the trend of all samples there.

Garbage cycles are looked for seldom (`policyd.base.collector`): some 12 MB of them gather between two looks, and
resident memory rises in stairs of that height. Where they were collected often, three minutes grew by 2.5 MB.
"""
WARM_S = 120.0
"""How long a controller must have lived for that: until then its log and history fill up to their bounds."""


class Memory:
    """The resident memory of a controller, sampled while it runs."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self.samples: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Sample twice a second; never ends by itself."""
        while True:
            mb = rss_mb(self._world.controller_pid)
            if mb is not None:
                self.samples.append((self._clock.monotonic(), mb))
            await self._clock.sleep(0.5)

    def growth_mb(self, since: float) -> float:
        """The median of the last third less that of the first third, of what was sampled after `since`."""
        found = [mb for at, mb in self.samples if at >= since]
        third = max(len(found) // 3, 1)
        return statistics.median(found[-third:]) - statistics.median(found[:third])

    def creep_mb(self, since: float) -> float | None:
        """How much the second half of what was sampled after `since` grew, by trend; `None` where it is short."""
        found = [sample for sample in self.samples if sample[0] >= since]
        half = found[len(found) // 2 :]
        if not half or half[-1][0] - found[0][0] < WARM_S:
            return None
        trend = statistics.linear_regression([at for at, _ in half], [mb for _, mb in half])
        return trend.slope * (half[-1][0] - half[0][0])


def rss_mb(pid: int) -> float | None:
    """The resident memory of a process; `None` where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    line = next((line for line in lines if line.startswith("VmRSS:")), None)
    return int(line.split()[1]) / 1_024 if line is not None else None


def derived(mesh: Mesh, node: Node) -> Versions:
    """What a node has to run when everything that Git asks for is promoted."""
    compiled = registry.load("envoy").compile(mesh, node, Memo())
    return {
        (artifact.kind, artifact.name): artifact.version
        for artifact in compiled.artifacts
        if artifact.kind in {CLUSTER, LISTENER, ROUTE}
    }


async def held(socket: Path) -> Versions:
    """What an Envoy runs by its own word. Raises `AssertionError` where something is warming or was refused."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin", timeout=10.0) as client:
        dump = json.loads((await client.get("/config_dump")).text)
    found: dict[tuple[str, str], str] = {}
    for section in dump["configs"]:
        for cluster in section.get("dynamic_active_clusters", ()):
            found[CLUSTER, cluster["cluster"]["name"]] = cluster["version_info"]
        for listener in section.get("dynamic_listeners", ()):
            assert "warming_state" not in listener, listener["name"]
            assert "error_state" not in listener, listener["error_state"]
            found[LISTENER, listener["name"]] = listener["active_state"]["version_info"]
        for route in section.get("dynamic_route_configs", ()):
            found[ROUTE, route["route_config"]["name"]] = route["version_info"]
        assert not section.get("dynamic_warming_clusters"), section["dynamic_warming_clusters"]
    return found


async def proxies_run_what_git_says(world: World) -> dict[str, Versions]:
    """Every proxy holds, resource by resource, what is compiled from Git's head, and nothing else; what that is."""
    mesh = world.mesh()
    found: dict[str, Versions] = {}
    for node in nodes(mesh):
        name = f"{node.service.name}-{node.version}-{node.endpoint.address}"
        found[node.id] = await held(world.sidecars.socket(name))
        assert found[node.id] == derived(mesh, node), node.id
    return found


def the_ledger_is_right(path: Path, holds: Mapping[str, Versions], clock: Clock) -> None:
    """What proxies acknowledged, as the controller left it on disk, is what they hold; nobody else is in it."""
    _whole(path)
    ledger, sets = Ledger(), AcknowledgedSets(path, clock)
    try:
        sets.recall(ledger)
    finally:
        sets.close()
    acknowledged = {
        node_id: {
            (artifact.kind, artifact.name): artifact.version
            for artifact in record.acknowledged or ()
            if artifact.kind in {CLUSTER, LISTENER, ROUTE}
        }
        for node_id, record in ledger.records.items()
    }
    assert acknowledged == holds


def the_store_is_sound(path: Path, mesh: Mesh) -> None:
    """The database is whole, holds what Git says as promoted, and no release that is still on its way."""
    _whole(path)
    store = Store(path)
    try:
        known = store.load()
    finally:
        store.close()
    assert known.promoted is not None
    assert known.promoted == replace(mesh, releases=known.promoted.releases)
    assert not [release.id for release in known.releases if release.phase.in_flight]


def _whole(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def cancelled(task: asyncio.Task[Any]) -> None:
    """End a task that never ends by itself."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
