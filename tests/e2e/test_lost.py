"""A controller that has lost its memory in the middle of a canary: nothing moves until a person has spoken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from policyd.base.clock import SystemClock
from policyd.compiler import registry
from policyd.compiler.protocol import ReadsBack
from policyd.daemon.admins import AdminAddresses
from policyd.demo.acts import all_in_sync
from policyd.demo.client import Json, release_of, weight_of
from policyd.demo.load import Load, Stream
from policyd.demo.world import World
from policyd.model.names import Name
from policyd.telemetry.running import RunningEnvoys
from tests.e2e.conftest import answered

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
Weights = tuple[tuple[str, int], ...]
FRONT, BACK = "default/front/v1/127.0.7.11", Name("default", "back")
AT_REST, AT_25 = (("v1", 10_000),), (("v1", 7_500), ("v2", 2_500))
WITHIN_S = 60


def only_the_store(state: Path) -> None:
    """Delete the store, and nothing else."""
    for file in state.glob("policyd.sqlite*"):
        file.unlink()


def all_but_the_identity(state: Path) -> None:
    """Delete the whole folder except the root certificate: what proxies acknowledged and the mirror, too."""
    for entry in state.iterdir():
        if entry.name == "identity":
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def connected(status: Json) -> set[str]:
    return {node["node"] for node in status["nodes"] if node["connected"]}


@pytest.mark.parametrize("lose", [only_the_store, all_but_the_identity])
async def test_a_canary_stays_where_it_is_though_the_store_is_lost(
    start_pair: StartPair, short_folder: Path, lose: Callable[[Path], None]
) -> None:
    world = await start_pair()
    world.repository.replace("services/back.yaml", "steps: [10, 50, 100]", "steps: [25, 50, 100]")
    world.repository.replace("services/back.yaml", "hold: 1s", "hold: 1h")
    base = world.repository.commit("back: a quarter first, and only people end a stage")
    load = Load(world.proxy("front"), (Stream("GET", "http://back/v1/items", 100.0),), SystemClock())
    load.start()
    commit = world.repository.serve("back", "v2")
    await world.client.until("a quarter", lambda s: at(s, 25) and all_in_sync(s), within_s=WITHIN_S)

    async with watched(world) as seen:
        await world.kill_controller()
        lose(short_folder / "state")
        await world.start_controller(tick_s=0.25)

        verb = f"policyd recover --promoted {base[:10]}"
        status = await world.client.until("what to type", lambda s: verb in said(s), within_s=WITHIN_S)
        assert "default/back v1 75 % v2 25 %" in said(status)
        assert weight_of(status, "back", "v2") == 25
        assert (status["head"], status["releases"]) == ("", [])
        await world.client.until("front back", lambda s: FRONT in connected(s), within_s=WITHIN_S)
        answer = await world.client.explain("spiffe://pair.example/ns/default/svc/front", "back", "GET", "/v1/items")
        assert answer["code"] == "internal_error", answer  # no mesh is promoted: neither allowed nor denied
        assert seen == [AT_25]

        code, words = await recover(world, "--promoted", base)
        assert code == 0, words
        status = await world.client.until(
            "the canary again", lambda s: s["head"] == commit and at(s, 25) and all_in_sync(s), within_s=WITHIN_S
        )
        release = release_of(status, "back", commit)
        assert release is not None
        assert (release["phase"], release["stage"]) == ("progressing", 1)
        assert said(status) == ""
        assert set(seen) <= {AT_25, AT_REST}, seen
    await load.stop()
    assert load.tally.lost == 0, load.tally.reasons
    assert load.tally.requests > 300


async def test_all_goes_on_without_the_root_until_a_person_wants_a_new_one(
    start_pair: StartPair, short_folder: Path
) -> None:
    world = await start_pair()
    load = Load(world.proxy("front"), (Stream("GET", "http://back/v1/items", 100.0),), SystemClock())
    load.start()
    old = await trusted(world)
    assert len(old) == 1

    await world.kill_controller()
    shutil.rmtree(short_folder / "state" / "identity")
    await world.start_controller(tick_s=0.25)
    status = await world.client.until(
        "what to type", lambda s: "policyd recover --new-root" in said(s, "secrets"), within_s=WITHIN_S
    )
    await world.client.until(
        "until when", lambda s: "first of which ends at" in said(s, "secrets"), within_s=WITHIN_S
    )

    # A canary runs to its end on the certificates that there are: v2 had none of front's connections before.
    commit = world.repository.serve("back", "v2")
    status = await world.client.until("v2 alone", lambda s: at(s, 100) and s["head"] == commit, within_s=WITHIN_S)
    await world.client.until("everyone in sync", all_in_sync, within_s=WITHIN_S)
    assert await trusted(world) == old

    code, words = await recover(world, "--new-root")
    assert code == 0, words
    assert "signed by a new root" in words
    both = await trusted(world)
    assert len(both) == 2
    assert both > old
    status = await world.client.until("nothing wrong", lambda s: not said(s, "secrets"), within_s=WITHIN_S)
    assert all_in_sync(status)

    # New connections, by leaves of the new root alone: the revert begins some, and so does a proxy that starts anew.
    back = world.repository.revert(commit)
    await world.client.until("v1 again", lambda s: at(s, 0) and s["head"] == back, within_s=WITHIN_S)
    await load.stop()
    assert load.tally.lost == 0, load.tally.reasons
    assert load.tally.requests > 300
    await world.sidecars.kill(FRONT)
    await world.start_sidecar(FRONT)
    await answered(world, "/v1/items", 200)


async def trusted(world: World) -> frozenset[str]:
    """The serial numbers of the roots that all proxies of the pair trust; fails where they differ."""
    envoys = RunningEnvoys(AdminAddresses(world.sidecars.admin_template))
    try:
        shown = await envoys.certificates([FRONT, "default/back/v1/127.0.7.21", "default/back/v2/127.0.7.22"])
    finally:
        await envoys.aclose()
    assert len(shown) == 3
    [roots] = {certificates.roots for certificates in shown.values()}
    return roots


def at(status: Json, share: float) -> bool:
    """Whether back's v2 has that share."""
    return weight_of(status, "back", "v2") == share


def said(status: Json, about: str = "store") -> str:
    """The trouble about something; empty if there is none."""
    return "".join(trouble["said"] for trouble in status.get("troubles", ()) if trouble["about"] == about)


@contextlib.asynccontextmanager
async def watched(world: World) -> AsyncIterator[list[Weights]]:
    """Every split of back that front's Envoy really has meanwhile, in order."""
    seen: list[Weights] = []
    compiler = registry.load("envoy")
    assert isinstance(compiler, ReadsBack)
    template = world.sidecars.admin_template
    envoys = RunningEnvoys(AdminAddresses(template))

    async def look() -> None:
        while True:
            for routes in (await envoys.routes([FRONT])).values():
                weights = compiler.splits(routes)[BACK].weights
                if seen[-1:] != [weights]:
                    seen.append(weights)
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await envoys.aclose()
    assert seen


async def recover(world: World, *words: str) -> tuple[int | None, str]:
    """The exit code of the verb, and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "policyd", "recover", *words, "--server", world.api),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode, " ".join(out.decode().split())
