"""A small mesh of real Envoys for each test: two services, one call, the controller as a process of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync
from policyd.demo.repository import ShopRepository
from policyd.demo.world import World

MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: pair, owner: test}
spec:
  trustDomain: pair.example
  strategy: immediate
  identity: {leaf: LEAF, root: 1y}
"""
FRONT = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: front, owner: test}
spec:
  port: 8080
  versions:
    v1: {endpoints: [127.0.7.11]}
  version: v1
"""
BACK = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: back, owner: test}
spec:
  port: 8080
  versions:
    v1: {endpoints: [127.0.7.21]}
    v2: {endpoints: [127.0.7.22]}
  version: v1
  slo: {availability: 99}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: front-reads, owner: test}
spec:
  to: back
  from: [front]
  allow:
    - {methods: [GET], paths: [/v1/items, "/v1/items/{id}"]}
---
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {name: back, owner: test}
spec:
  service: back
  steps: [10, 50, 100]
  hold: 1s
  minRequests: 20
  gates: [back-availability]
"""

StartPair = Callable[..., Awaitable[World]]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path: Unix sockets in it must fit in 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pd-") as name:
        yield Path(name)


@pytest.fixture
async def start_pair(short_folder: Path, envoy_binary: Path) -> AsyncIterator[StartPair]:
    """Start the pair and return once front's calls are answered."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, leaf: str = "24h", failing: float = 0.0, deadline_s: float = 15.0) -> World:
            intents = short_folder / "intents"
            (intents / "services").mkdir(parents=True)
            (intents / "mesh.yaml").write_text(MESH.replace("LEAF", leaf))
            (intents / "services" / "front.yaml").write_text(FRONT)
            (intents / "services" / "back.yaml").write_text(BACK)
            repository = ShopRepository(short_folder / "repository", intents)
            world = await stack.enter_async_context(World(short_folder, repository, envoy_binary, SystemClock()))
            commit = repository.commit("the pair")
            await world.start_apps({}, {("back", "v2"): failing})
            await world.start_controller(tick_s=0.25, deadline_s=deadline_s)
            await world.start_sidecars()
            await world.client.until(
                "the pair in sync", lambda s: s["head"] == commit and all_in_sync(s), within_s=60
            )
            await answered(world, "/v1/items", 200)
            return world

        yield start


async def answered(
    world: World, path: str, status: int, within_s: float = 20.0, *, caller: str = "front", host: str = "back"
) -> None:
    """Return once the caller's call to the host is answered with `status`; fails the test if it never is."""
    clock = SystemClock()
    end = clock.monotonic() + within_s
    seen = 0
    async with httpx.AsyncClient(proxy=world.proxy(caller), trust_env=False) as client:
        while clock.monotonic() < end:
            seen = (await client.get(f"http://{host}{path}")).status_code
            if seen == status:
                return
            await clock.sleep(0.05)
    pytest.fail(f"GET http://{host}{path} is still answered {seen}, not {status}")
