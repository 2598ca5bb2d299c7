"""Envoys that die, hang, join late or refuse, and a controller that dies beside them: all land where they belong."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync, phase_of_settings, snapshots, taken
from policyd.demo.client import release_of, weight_of
from policyd.demo.load import Load, Stream
from policyd.demo.world import World
from tests.e2e.conftest import answered, command

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
FRONT, BACK = "default/front/v1/127.0.7.11", "default/back/v1/127.0.7.21"


async def test_dead_hanging_and_late_proxies_land_on_the_stage_of_the_release(start_pair: StartPair) -> None:
    world = await start_pair(deadline_s=3.0)
    # Without requests the first stage has no verdict, so it stays as long as this test needs it.
    commit = world.repository.serve("back", "v2")
    status = await world.client.until(
        "the first stage", lambda s: weight_of(s, "back", "v2") == 10 and all_in_sync(s), within_s=30
    )
    at_stage = snapshots(status)

    # Dead, and back as a new process: it joins in the middle of the release.
    await world.sidecars.kill(FRONT)
    await world.client.until("front away", lambda s: not node(s, FRONT)["connected"], within_s=30)
    await world.start_sidecar(FRONT)
    status = await world.client.until("front back", all_in_sync, within_s=30)
    assert snapshots(status) == at_stage
    assert stage(status, commit) == 1
    await answered(world, "/v1/items", 200)

    # Hanging while everyone goes back: shown, in nobody's way, and taken along when it answers again.
    world.sidecars.signal(FRONT, signal.SIGSTOP)
    await command(world, "back", "abort")
    status = await world.client.until("front shown", lambda s: node(s, FRONT)["refused"], within_s=30)
    assert node(status, FRONT)["refused"].endswith("neither acknowledged nor refused")
    assert node(status, BACK)["in_sync"]
    assert phase(status, commit) == "aborted"
    await world.client.until("the way back overdue too", lambda _: hangs(world), within_s=30)
    world.sidecars.signal(FRONT, signal.SIGCONT)
    status = await world.client.until("front taken along", all_in_sync, within_s=60)
    assert weight_of(status, "back", "v2") == 0
    assert snapshots(status)[FRONT] != at_stage[FRONT]
    await answered(world, "/v1/items", 200)


def hangs(world: World) -> bool:
    return "answers nothing at all" in world.log("controller")


async def test_a_refusal_beside_a_restart_goes_back_to_what_ran_before(start_pair: StartPair) -> None:
    world = await start_pair()
    load = Load(world.proxy("front"), (Stream("GET", "http://back/v1/items", 100.0),), SystemClock())
    load.start()
    try:
        await refused_and_tried_again(world, load)
    finally:
        await load.stop()
    assert load.tally.lost == 0, load.tally.reasons


async def refused_and_tried_again(world: World, load: Load) -> None:
    # Asked for while there is no controller: the first thing that the new one has to move, and one Envoy refuses it.
    await world.kill_controller()
    said = len(world.log("controller"))
    with taken("127.0.7.21", 15_007):
        commit = world.repository.listen(15_007)
        await world.start_controller(tick_s=0.25)
        status = await world.client.until(
            "the port taken back",
            lambda s: phase_of_settings(s, commit) == "aborted" and all_in_sync(s),
            within_s=60,
        )
    assert not await listens("127.0.7.22", 15_007)
    assert await listens("127.0.7.22", 15_006)
    (release,) = [release for release in status["releases"] if release["commit"] == commit]
    assert "cannot bind '127.0.7.21:15007': Address already in use" in release["reason"]
    assert release["quarantine"]
    assert "unknown node" not in world.log("controller")[said:]

    # The port is free now, and a person has it tried again: no request notices that it moves.
    await command(world, release["id"], "resume")
    await world.client.until("the port moved", lambda s: phase_of_settings(s, commit) == "promoted", within_s=60)
    assert await listens("127.0.7.22", 15_007)
    served = load.tally.requests
    await world.client.until("more requests", lambda _: load.tally.requests > served + 100, within_s=30)


async def listens(address: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def node(status: dict[str, Any], node_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(node for node in status["nodes"] if node["node"] == node_id)
    return found


def stage(status: dict[str, Any], commit: str) -> int:
    release = release_of(status, "back", commit)
    return int(release["stage"]) if release is not None else 0


def phase(status: dict[str, Any], commit: str) -> str:
    release = release_of(status, "back", commit)
    return str(release["phase"]) if release is not None else ""
