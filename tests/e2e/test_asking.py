"""What a real Envoy logged is replayed by the rules that it ran, by those of another commit, and by those of now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from policyd.base.clock import SystemClock
from policyd.cli.main import build
from policyd.demo.world import World
from tests.e2e.test_access import live_at

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
BACK = "default/back/v1/127.0.7.21"


async def policyd(world: World, *words: str) -> Result:
    """One verb, beside the event loop."""
    asked = [*words, "--server", world.api]
    return await asyncio.to_thread(lambda: CliRunner().invoke(build(), asked, catch_exceptions=False))


async def logged(world: World, path: str) -> str:
    """The line that back's sidecar wrote about a path."""
    clock = SystemClock()
    end = clock.monotonic() + 20
    while clock.monotonic() < end:
        for line in world.log("envoy-back-v1-127.0.7.21").splitlines():
            if '"inbound"' in line and f'"{path}"' in line and line.endswith("}"):
                return line
        await clock.sleep(0.05)
    pytest.fail(f"nobody logged {path}")


def told(done: Result) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(done.stdout)
    return value


async def test_a_logged_request_is_explained_by_what_its_proxy_ran(start_pair: StartPair) -> None:
    world = await start_pair()
    first = (await world.client.status())["head"]
    async with httpx.AsyncClient(proxy=world.proxy("front"), trust_env=False) as front:
        assert (await front.get("http://back/v1/items/7?why")).status_code == 200
        assert (await front.get("http://back/v1/other?why")).status_code == 403
    good, bad = await logged(world, "/v1/items/7?why"), await logged(world, "/v1/other?why")

    done = await policyd(world, "why", good, "--at", f"node:{BACK}", "-o", "json")
    assert (done.exit_code, told(done)["agrees"]) == (0, True), done.output
    assert told(done)["place"].startswith("services/back.yaml:")
    assert told(done)["commit"] == first
    denied = await policyd(world, "why", bad)
    assert (denied.exit_code, "rule `front-reads-back` allows other paths" in denied.stdout) == (0, True)
    assert f"commit {first[:12]}" in denied.stdout

    world.repository.replace("services/back.yaml", "[/v1/items, ", "[/v1/items, /v1/other, ")
    commit = world.repository.commit("back: one more path")
    await world.client.until("the rule everywhere", lambda s: live_at(s, commit), within_s=30)
    changed = told(await policyd(world, "why", bad, "-o", "json"))
    assert (changed["allow"], changed["differences"]) == (
        True,
        ["the log says `deny` by `no-rule-for-request`, and the replay `allow`: the rules have changed since"],
    )
    reworded = told(await policyd(world, "why", good, "-o", "json"))
    assert reworded["allow"]
    assert reworded["differences"][0].startswith("the rule was worded otherwise then: the log says")
    assert told(await policyd(world, "why", good, "--at", first, "-o", "json"))["agrees"]

    asked = ("explain", "--from", "front", "--to", "back", "GET /v1/other")
    assert (await policyd(world, *asked, "--at", "head")).exit_code == 0
    then = await policyd(world, *asked, "--at", first[:12])
    assert (then.exit_code, "live: " in then.stdout) == (1, True), then.output
    assert "no commit `0000000` has been fetched" in (await policyd(world, *asked, "--at", "0000000")).stderr
