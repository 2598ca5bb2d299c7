"""Access rules in the real proxies: who is let through, who is not, and what a change does to live connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync
from policyd.demo.world import World
from tests.e2e.conftest import drifted

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]


async def raw_get(world: World, target: str, host: str = "back") -> int:
    """The status of a request sent byte for byte; clients would tidy these paths up."""
    address, port = world.proxy("front").removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(address, int(port))
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
    return int(line.split()[1])


async def test_allowed_denied_and_not_canonical(start_pair: StartPair) -> None:
    world = await start_pair()

    async with httpx.AsyncClient(proxy=world.proxy("front"), trust_env=False) as front:
        assert (await front.get("http://back/v1/items/7")).status_code == 200
        assert (await front.get("http://back:8080/v1/items/7?page=2")).status_code == 200
        assert (await front.post("http://back/v1/items")).status_code == 403
        assert (await front.get("http://back/v1/other")).status_code == 403
        denied = await front.get("http://elsewhere/v1/items")
    assert denied.status_code == 403
    assert json.loads(denied.text)["error"]

    for path in ("/v1//items", "/v1/./items", "/v1/items/..%2f", "/v1/items/%2e", "/v1/items;x", "/v1\\items"):
        assert await raw_get(world, path) == 400, path

    async with httpx.AsyncClient(proxy=world.proxy("back"), trust_env=False) as back:
        assert (await back.get("http://front/")).status_code == 403


async def test_a_changed_rule_breaks_no_connection(start_pair: StartPair) -> None:
    world = await start_pair()
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=4)
    statuses: list[int] = []
    changed = asyncio.Event()

    async with httpx.AsyncClient(proxy=world.proxy("front"), trust_env=False, limits=limits) as client:

        async def call() -> None:
            while not changed.is_set():
                statuses.append((await client.get("http://back/v1/items")).status_code)

        callers = [asyncio.create_task(call()) for _ in range(4)]
        opened = await connections(world)
        world.repository.replace(
            "services/back.yaml", "[GET], paths: [/v1/items,", "[GET], paths: [/v1/items, /v1/new,"
        )
        commit = world.repository.commit("back: one more path")
        status = await world.client.until("the rule everywhere", lambda s: live_at(s, commit), within_s=30)
        before = len(statuses)
        async with asyncio.timeout(10):
            while len(statuses) < before + 50:
                await SystemClock().sleep(0.01)
        changed.set()
        await asyncio.gather(*callers)
        assert (await client.get("http://back/v1/new")).status_code == 200

    assert all_in_sync(status)
    assert set(statuses) == {200}
    assert await drifted(world) == []
    assert len(statuses) > 50
    # Nobody hung up on anybody: the same connections from the front's application to back's sidecar all along.
    assert await connections(world) == opened


def live_at(status: dict[str, object], commit: str) -> bool:
    """Whether the newest commit is taken and nothing is in flight any more."""
    releases = status["releases"]
    assert isinstance(releases, list)
    mine = [release for release in releases if release["commit"] == commit]
    return status["head"] == commit and bool(mine) and all(release["phase"] == "promoted" for release in mine)


async def connections(world: World) -> tuple[int, int]:
    """Connections that were closed so far, at front's outbound and at back's inbound listener."""
    counts = []
    for node, listener in (("front-v1-127.0.7.11", "outbound"), ("back-v1-127.0.7.21", "inbound")):
        transport = httpx.AsyncHTTPTransport(uds=str(world.sidecars.socket(node)))
        async with httpx.AsyncClient(transport=transport, base_url="http://envoy") as admin:
            text = (
                await admin.get("/stats", params={"filter": f"^http.{listener}.downstream_cx_destroy_local$"})
            ).text
        counts.append(int(text.rpartition(":")[2] or 0))
    return counts[0], counts[1]
