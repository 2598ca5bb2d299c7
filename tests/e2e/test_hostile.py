"""Hostile and clumsy commits on a live mesh: each is refused with its finding, and live traffic does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from policyd.demo.client import Json
from policyd.demo.world import World
from tests.e2e.conftest import drifted
from tests.e2e.test_access import live_at
from tests.hostile.test_files import CASES

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]


async def refused(world: World, what: str) -> set[str]:
    """Commit what is in the repository now; the codes of its errors, once it has been refused."""
    commit = world.repository.commit(what)

    def judged(status: Json) -> bool:
        return bool(status["commit"]) and status["commit"]["commit"] == commit

    status = await world.client.until(f"judged: {what}", judged, within_s=20)
    assert not status["commit"]["taken"], what
    findings = status["commit"]["findings"]
    assert all(finding["file"] and finding["message"] for finding in findings)
    return {finding["code"] for finding in findings if finding["severity"] == "error"}


async def test_hostile_commits_are_refused_and_live_traffic_does_not_notice(start_pair: StartPair) -> None:
    world = await start_pair()
    good, folder = world.repository.head, world.repository.path
    allowed: list[int] = []
    denied: list[int] = []
    over = asyncio.Event()

    async with httpx.AsyncClient(proxy=world.proxy("front"), trust_env=False) as client:

        async def call() -> None:
            while not over.is_set():
                allowed.append((await client.get("http://back/v1/items")).status_code)
                denied.append((await client.post("http://back/v1/items")).status_code)

        callers = [asyncio.create_task(call()) for _ in range(2)]
        bad = folder / "bad.yaml"
        for what, (body, said) in CASES.items():
            bad.write_bytes(body if isinstance(body, bytes) else body.encode())
            assert said.rpartition(" ")[2] in await refused(world, what), what
        bad.unlink()
        bad.symlink_to("mesh.yaml")
        assert "PD3001" in await refused(world, "a symbolic link")
        bad.unlink()
        assert await _with_a_rule(world, folder, "package policyd.guardrails.mine\n") == {"PD2010"}
        assert await _with_a_rule(world, folder, "package shop.mine\n\ndeny contains {") != set()
        files = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
        for path in files:
            path.unlink()
        assert await refused(world, "nothing at all") != set()
        for path, text in files.items():
            path.write_bytes(text)
        assert (await world.client.status())["head"] == good

        world.repository.replace(
            "services/back.yaml", "[GET], paths: [/v1/items,", "[GET], paths: [/v1/items, /v1/new,"
        )
        commit = world.repository.commit("back: one more path")
        await world.client.until("a good commit goes on", lambda s: live_at(s, commit), within_s=30)
        over.set()
        await asyncio.gather(*callers)
        assert (await client.get("http://back/v1/new")).status_code == 200

    assert set(allowed) == {200}
    assert set(denied) == {403}
    assert len(allowed) > len(CASES)
    assert await drifted(world) == []


async def _with_a_rule(world: World, folder: Path, rego: str) -> set[str]:
    rule = folder / "rego" / "mine" / "rule.rego"
    rule.parent.mkdir(parents=True, exist_ok=True)
    rule.write_text(rego)
    codes = await refused(world, "a rule of one's own")
    rule.unlink()
    return codes
