"""A small mesh of real Envoys for each test: two services, one call, the controller as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync
from policyd.demo.repository import ShopRepository
from policyd.demo.world import World
from tests.e2e import intents

MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: pair, owner: test}
spec:
  trustDomain: pair.example
  strategy: immediate
  identity: {leaf: LEAF, root: 1y}
"""
FRONT = intents.service("front", {"v1": "127.0.7.11"})
BACK = intents.called("back", {"v1": "127.0.7.21", "v2": "127.0.7.22"}, "1s")

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
            files = {"mesh": MESH.replace("LEAF", leaf), "services/front": FRONT, "services/back": BACK}
            world = await stack.enter_async_context(
                running(short_folder, files, envoy_binary, failing={("back", "v2"): failing}, deadline_s=deadline_s)
            )
            await answered(world, "/v1/items", 200)
            return world

        yield start


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    files: Mapping[str, str],
    envoy_binary: Path,
    *,
    failing: Mapping[tuple[str, str], float] | None = None,
    slow_s: Mapping[tuple[str, str], float] | None = None,
    deadline_s: float = 15.0,
    more: Mapping[str, object] | None = None,
) -> AsyncIterator[World]:
    """A mesh of these intent files, by their paths without `.yaml`, with every proxy in sync; `more` are settings."""
    for path, text in files.items():
        file = folder / "intents" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    repository = ShopRepository(folder / "repository", folder / "intents")
    async with World(folder, repository, envoy_binary, SystemClock()) as world:
        commit = repository.commit("the mesh")
        await asyncio.gather(
            world.start_apps({}, failing or {}, slow_s),
            world.start_controller(tick_s=0.25, deadline_s=deadline_s, more=more),
        )
        await world.start_sidecars()
        await world.client.until("everyone in sync", lambda s: s["head"] == commit and all_in_sync(s), within_s=60)
        yield world


async def answered(
    world: World, path: str, status: int, within_s: float = 20.0, *, caller: str = "front", host: str = "back"
) -> None:
    """Return once the caller's call to the host is answered with `status`; fails the test if it never is."""
    clock = SystemClock()
    end = clock.monotonic() + within_s
    seen = 0
    async with httpx.AsyncClient(proxy=world.proxy(caller), trust_env=False) as client:
        while clock.monotonic() < end:
            with contextlib.suppress(httpx.ConnectError):  # a sidecar that is still starting
                seen = (await client.get(f"http://{host}{path}")).status_code
            if seen == status:
                return
            await clock.sleep(0.05)
    pytest.fail(f"GET http://{host}{path} is still answered {seen}, not {status}")


async def drifted(world: World, within_s: float = 20.0) -> list[str]:
    """What the controller's self-check finds, once nothing is on its way; fails the test if something always is."""
    clock = SystemClock()
    end = clock.monotonic() + within_s
    async with httpx.AsyncClient(base_url=world.api, trust_env=False, timeout=30.0) as api:
        while clock.monotonic() < end:
            said = (await api.post("/v1/self-check")).raise_for_status().json()
            if said["compared"]:
                return list(said["drifted"])
            await clock.sleep(0.1)
    pytest.fail("the controller never has anything to compare with")


async def command(world: World, release: str, verb: str) -> None:
    """Ask something of a release in flight."""
    async with httpx.AsyncClient(base_url=world.api, trust_env=False) as api:
        reply = await api.post(f"/v1/releases/{release}/{verb}")
    assert reply.status_code == 200, reply.text
