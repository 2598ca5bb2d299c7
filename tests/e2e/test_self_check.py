"""The self-check of a live controller: what a memory gives wrongly is found, said, and gone from the proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from policyd.base.clock import SystemClock
from policyd.daemon import build
from policyd.daemon.admission import Admission
from policyd.daemon.settings import read_settings
from policyd.delivery.snapshot import NodeSnapshot
from policyd.demo.acts import all_in_sync
from policyd.demo.world import World
from policyd.intents.loader import parse_file
from policyd.intents.tree import blob_id
from policyd.model.access import Access, Permit, Rule
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.paths import PathPattern
from policyd.rollout.assembly import Assembly
from tests.e2e.conftest import answered

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
SELF_CHECK_S = 321.0
BACK = "services/back.yaml"


class Due(SystemClock):
    """A clock by which the next self-check is due when a test says so."""

    def __init__(self) -> None:
        self.now_due = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds != SELF_CHECK_S:
            return await super().sleep(seconds)
        await self.now_due.wait()
        self.now_due.clear()
        return None


class Parts:
    """What remembers in the controller that runs in this process."""

    admission: Admission
    assembly: Assembly


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Lets the composition root build as ever, and keeps what it built."""
    kept = Parts()

    def admission(*arguments: Any, **options: Any) -> Admission:
        kept.admission = Admission(*arguments, **options)
        return kept.admission

    def assembly(*arguments: Any, **options: Any) -> Assembly:
        kept.assembly = Assembly(*arguments, **options)
        return kept.assembly

    monkeypatch.setattr(build, "Admission", admission)
    monkeypatch.setattr(build, "Assembly", assembly)
    return kept


def forget_nothing_and_lie(parts: Parts, world: World) -> None:
    """The compiled set of back's first instance becomes that of a mesh in which everything may be read."""
    mesh = world.mesh()
    node = next(node for node in nodes(mesh) if node.service.name == "back" and node.version == "v1")
    wide = _widened(mesh, node.service)
    entries = parts.assembly._memo._entries.values()
    entry = next(each for each in entries if _is_of(each.value, node.id))
    secrets = parts.assembly._secrets(node.service)
    made = parts.assembly.anew(lambda name: secrets).snapshots([node], lambda _: wide)[node.id]
    assert isinstance(entry.value, NodeSnapshot)
    assert entry.value.digest != made.digest
    entry.value = made


def misread(parts: Parts, world: World) -> None:
    """The file of back is remembered as one in which everything may be read."""
    body = (world.repository.path / BACK).read_bytes()
    wrong = parse_file(BACK, body.replace(b'[/v1/items, "/v1/items/{id}"]', b"[/**]"))
    assert not wrong.findings
    known = parts.admission._cache
    assert known.get(BACK, blob_id(body)) is not None
    known.put(BACK, blob_id(body), wrong)


def _widened(mesh: Mesh, name: Name) -> Mesh:
    everything = Permit(("GET",), (PathPattern.parse("/**"),))
    rules: tuple[Rule, ...] = tuple(replace(rule, permits=(everything,)) for rule in mesh.access[name].rules)
    return replace(mesh, access={**mesh.access, name: Access(name, rules)})


def _is_of(value: object, node_id: str) -> bool:
    return isinstance(value, NodeSnapshot) and value.node_id == node_id


@contextlib.asynccontextmanager
async def controller(world: World, folder: Path, clock: SystemClock) -> AsyncIterator[None]:
    """The world's controller again, in this process."""
    await world.stop_controller()
    settings = read_settings(folder / "policyd.yaml").model_copy(update={"self_check_s": SELF_CHECK_S})
    stop = asyncio.Event()
    running = asyncio.create_task(build.serve(settings, clock, stop))
    try:
        await world.client.until("everyone in sync", all_in_sync, within_s=60)
        yield
    finally:
        stop.set()
        await running


@pytest.mark.parametrize(
    ("plant", "said"),
    [(forget_nothing_and_lie, "is not what the mesh says"), (misread, "the mesh is not what its intents say")],
)
async def test_a_drift_that_opened_access_is_found_said_and_closed(
    start_pair: StartPair,
    short_folder: Path,
    parts: Parts,
    plant: Callable[[Parts, World], None],
    said: str,
) -> None:
    clock = Due()
    world = await start_pair()
    with capture_logs() as logs:
        async with (
            controller(world, short_folder, clock),
            httpx.AsyncClient(base_url=world.api, trust_env=False) as api,
        ):
            # A commit about something else, so that all that is remembered has been used by this process.
            await _note(world, "first")
            await answered(world, "/v1/secret", 403)
            plant(parts, world)
            await _note(world, "second")
            await answered(world, "/v1/secret", 200)

            clock.now_due.set()
            await answered(world, "/v1/secret", 403)
            await answered(world, "/v1/items", 200)
            status = await world.client.status()
            told = [each["said"] for each in status["troubles"] if each["about"] == "memory"]
            assert len(told) == 1
            assert said in told[0]
            assert 'policyd_self_checks_total{result="drifted"} 1.0' in (await api.get("/metrics")).text
            (line,) = [entry for entry in logs if entry["event"] == "self-check"]
            assert line["log_level"] == "error"
            assert any(said in each for each in line["drifted"])

            clock.now_due.set()
            await world.client.until("no trouble any more", lambda status: not status["troubles"], within_s=20)
            assert 'policyd_self_checks_total{result="same"} 1.0' in (await api.get("/metrics")).text


async def _note(world: World, words: str) -> None:
    """A commit that says nothing new, taken and in sync."""
    path = world.repository.path / "services" / "front.yaml"
    path.write_text(f"# {words}\n" + path.read_text())
    commit = world.repository.commit(words)
    await world.client.until(
        "the commit is taken", lambda status: status["head"] == commit and all_in_sync(status), within_s=30
    )
