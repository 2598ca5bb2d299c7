"""Everything at once, for as long as one likes: `pytest tests/soak --soak-seconds 600 [--soak-seed N]`."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync
from policyd.demo.repository import ShopRepository
from policyd.demo.world import World
from tests.e2e.conftest import drifted
from tests.soak import evidence
from tests.soak.chaos import TICK_S, WITHIN_S, Chaos, Journal
from tests.soak.mesh import BAD, Commits
from tests.soak.traffic import Faults, Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with a short path, for Unix sockets; its logs are kept when the test fails."""
    with tempfile.TemporaryDirectory(prefix="pd-") as name:
        yield Path(name)
        shutil.copytree(Path(name, "logs"), tmp_path / "logs", dirs_exist_ok=True)


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The dice's seed: the option's, else a new one, which is printed."""
    said = pytestconfig.getoption("--soak-seed")
    return int(said) if said is not None else random.SystemRandom().randrange(1_000_000)


async def test_soak(folder: Path, tmp_path: Path, envoy_binary: Path, seed: int, pytestconfig: pytest.Config) -> None:
    seconds = float(pytestconfig.getoption("--soak-seconds"))
    print(f"soak of {seconds:g} s, --soak-seed {seed}, journal in {tmp_path}")
    clock = SystemClock()
    Commits.first(folder / "intents")
    repository = ShopRepository(folder / "repository", folder / "intents")
    async with World(folder, repository, envoy_binary, clock) as world:
        repository.commit("the mesh")
        await world.start_apps({}, {("back", BAD): 1.0})
        await world.start_controller(tick_s=TICK_S)
        await world.start_sidecars()
        await world.client.until("the mesh in sync", lambda s: s["head"] and all_in_sync(s), within_s=WITHIN_S)
        faults, traffic, memory = Faults(clock), Traffic(world.proxy("front"), clock), evidence.Memory(world, clock)
        await traffic.until_whole(WITHIN_S)
        chaos = Chaos(world, traffic, faults, Journal(tmp_path / "journal.jsonl", clock), random.Random(seed))
        sampling = asyncio.create_task(memory.watch())
        try:
            async with traffic.running():
                await chaos.run(seconds, restful_s=seconds * 0.6)
                await chaos.settle()
        finally:
            await evidence.cancelled(sampling)
            (tmp_path / "memory.json").write_text(json.dumps(memory.samples))
            write_failures(tmp_path, traffic, faults)
        mesh = world.mesh()
        holds = await evidence.proxies_run_what_git_says(world)
        assert await drifted(world) == []
        await world.stop_controller()
    evidence.the_store_is_sound(folder / "state" / "policyd.sqlite", mesh)
    evidence.the_ledger_is_right(folder / "state" / "acknowledged.sqlite", holds, clock)

    unexplained = [failure for failure in traffic.failures if not faults.explains(failure)]
    assert traffic.opened == []
    assert unexplained == [], f"{len(unexplained)} of {traffic.requests}"
    assert traffic.requests > seconds
    assert traffic.on_purpose > 0
    growth = memory.growth_mb(chaos.last_kill_at)
    creep = memory.creep_mb(chaos.last_kill_at)
    assert growth < evidence.GROWTH_MB, memory.samples
    assert creep is None or creep < evidence.CREEP_MB, memory.samples
    print(
        f"{traffic.requests} requests, {traffic.on_purpose} failed on purpose, {len(traffic.failures)} explained by"
        f" {len(faults.windows)} dead proxies ({faults.seconds:.0f} s), memory {growth:+.1f} MB,"
        f" {'too short for a trend' if creep is None else f'{creep:+.1f} MB in the second half'}"
    )


def write_failures(path: Path, traffic: Traffic, faults: Faults) -> None:
    """Keep what failed beside the journal."""
    lines = [
        json.dumps({"begun": one.begun, "ended": one.ended, "why": one.why, "explained": faults.explains(one)})
        for one in traffic.failures
    ]
    (path / "failures.jsonl").write_text("\n".join(lines))
    (path / "windows.json").write_text(json.dumps([list(map(str, window)) for window in faults.windows]))
