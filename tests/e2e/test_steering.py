"""A person at the controls of a live canary: the verbs of `policyd releases`, and a controller stopped in between."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync
from policyd.demo.client import release_of, weight_of
from policyd.demo.load import Load, Stream
from policyd.demo.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
WITHIN_S = 60


async def test_a_canary_is_watched_sent_on_stopped_with_its_controller_and_aborted(start_pair: StartPair) -> None:
    world = await start_pair()
    world.repository.replace("services/back.yaml", "hold: 1s", "hold: 1h")
    world.repository.commit("back: only people end a stage")
    load = Load(world.proxy("front"), (Stream("GET", "http://back/v1/items", 50.0),), SystemClock())
    load.start()
    try:
        await steered(world)
    finally:
        await load.stop()
    assert load.tally.lost == 0, load.tally.reasons


async def steered(world: World) -> None:
    commit = world.repository.serve("back", "v2")
    await world.client.until("the first stage", lambda s: weight_of(s, "back", "v2") == 10, within_s=WITHIN_S)

    async with watching(world) as watched:
        code, said = await releases(world, "promote", "back", "--output", "json")
        assert code == 0, said
        assert (json.loads(said)["stage"], json.loads(said)["weights"]) == (2, {"v1": 5_000, "v2": 5_000})
        await said_by(watched, "at 50 % of requests")
        status = await world.client.until("everyone at it", all_in_sync, within_s=WITHIN_S)
        before = release_of(status, "back", commit)

        # SIGTERM while somebody watches: a clean end, and whoever watched is told that nothing was decided.
        assert await world.stop_controller() == 0
        assert await ended(watched) == 2
        assert "has ended hint: proxies keep what they have" in await rest_of(watched)
    assert "Traceback" not in world.log("controller")

    code, said = await releases(world, "abort", "back")
    assert code != 0
    assert "no controller answers" in said
    await world.start_controller(tick_s=0.25)
    status = await world.client.until("everyone back", all_in_sync, within_s=WITHIN_S)
    after = release_of(status, "back", commit)
    assert before is not None
    assert after is not None
    same = ("id", "phase", "stage", "weights", "since")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}

    async with watching(world) as watched:
        code, said = await releases(world, "abort", "back")
        assert code == 0, said
        assert "a person aborted it" in said
        await said_by(watched, "went back: a person aborted it")
        assert await ended(watched) == 1
    status = await world.client.until("v1 alone", lambda s: weight_of(s, "back", "v1") == 100, within_s=WITHIN_S)
    gone = release_of(status, "back", commit)
    assert gone is not None
    assert gone["quarantine"] == "a person aborted it"
    code, said = await releases(world, "promote", "back")
    assert code != 0
    assert "is over: it is aborted" in said or "it cannot be promoted" in said


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[asyncio.subprocess.Process]:
    """`policyd releases watch back`, from the moment when it shows where the release stands."""
    process = await started(world, "watch", "back")
    try:
        await said_by(process, "back v1 -> v2")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def started(world: World, *words: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "policyd", "releases", *words, "--server", world.api)
    return await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200"},
    )


async def releases(world: World, *words: str) -> tuple[int | None, str]:
    """The exit code of a verb, and all that it said."""
    process = await started(world, *words)
    said, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode, " ".join(said.decode().split())


async def said_by(process: asyncio.subprocess.Process, words: str) -> None:
    """Return once a line of the process has the words; fails where it ends first."""
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        lines: list[str] = []
        while not lines or words not in lines[-1]:
            line = await process.stdout.readline()
            assert line, lines
            lines.append(line.decode())


async def rest_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return " ".join((await process.stdout.read()).decode().split())


async def ended(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), WITHIN_S)
