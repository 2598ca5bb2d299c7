"""Canaries with two Envoys and real requests: promoted when well, taken back when not, restored by a revert."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from policyd.base.clock import SystemClock
from policyd.demo.client import release_of, weight_of
from policyd.demo.load import Load, Stream
from policyd.demo.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
CALLS = (Stream("GET", "http://back/v1/items", 150.0),)


async def test_promoted_then_reverted_without_analysis(start_pair: StartPair) -> None:
    world = await start_pair()
    load = Load(world.proxy("front"), CALLS, SystemClock())
    load.start()

    commit = world.repository.serve("back", "v2")
    await world.client.until("v2 promoted", lambda s: phase(s, commit) == "promoted", within_s=60)
    back = world.repository.revert(commit)
    status = await world.client.until("v1 again", lambda s: phase(s, back) == "promoted", within_s=20)
    await load.stop()

    assert weight_of(status, "back", "v1") == 100
    release = release_of(status, "back", back)
    assert release is not None
    assert release["known_good"]
    assert load.tally.lost == 0, load.tally.reasons
    assert load.tally.requests > 300


async def test_bad_canary_goes_back_and_stays_away(start_pair: StartPair) -> None:
    world = await start_pair(failing=0.5)
    load = Load(world.proxy("front"), CALLS, SystemClock())
    load.start()

    commit = world.repository.serve("back", "v2")
    status = await world.client.until("v2 aborted", lambda s: phase(s, commit) == "aborted", within_s=60)
    release = release_of(status, "back", commit)
    assert release is not None
    assert release["evidence"]["e_value"] >= release["evidence"]["e_limit"]
    assert release["quarantine"]

    # A commit about something else flows around it; the quarantined content is not tried again.
    world.repository.replace("services/back.yaml", "availability: 99}", "availability: 99.5}")
    other = world.repository.commit("back: a stricter promise")
    status = await world.client.until("the other commit taken", lambda s: s["head"] == other, within_s=20)
    await load.stop()

    assert weight_of(status, "back", "v2") == 0
    assert next(item for item in status["services"] if item["service"] == "default/back")["diverged"]
    assert load.tally.lost == 0, load.tally.reasons
    assert load.tally.injected > 0


async def test_a_killed_controller_goes_on_at_the_same_stage(start_pair: StartPair) -> None:
    world = await start_pair()
    load = Load(world.proxy("front"), CALLS, SystemClock())
    load.start()

    commit = world.repository.serve("back", "v2")
    await world.client.until("the first stage", lambda s: weight_of(s, "back", "v2") == 10, within_s=30)
    await world.kill_controller()
    await world.start_controller(tick_s=0.25)
    status = await world.client.until("v2 promoted", lambda s: phase(s, commit) == "promoted", within_s=60)
    await load.stop()

    assert len([r for r in status["releases"] if r["commit"] == commit]) == 1
    assert load.tally.lost == 0, load.tally.reasons


def phase(status: dict[str, object], commit: str) -> str:
    """The phase of back's release that a commit brought; empty before there is one."""
    release = release_of(status, "back", commit)
    return str(release["phase"]) if release is not None else ""
