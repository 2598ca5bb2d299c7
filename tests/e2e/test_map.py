"""The service map of real Envoys: the edges that traffic made, one that nobody uses, and what was tried in vain."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from pathlib import Path
from typing import Any

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.demo.world import World
from tests.e2e import intents
from tests.e2e.conftest import MESH, answered, running
from tests.e2e.prometheus import Prometheus, scraping

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FILES = {
    "mesh": MESH.replace("LEAF", "24h"),
    "services/front": intents.service("front", {"v1": "127.0.7.11"}),
    "services/back": intents.called("back", {"v1": "127.0.7.21", "v2": "127.0.7.22"}, "1s"),
    "services/spare": intents.called("spare", {"v1": "127.0.7.31"}, "1s"),
}

SLOW_S = 0.03
"""How long back takes over an answer: in the middle of a bucket, and much longer than the way there."""
BOUNDS_MS = (20.0, 50.0, 100.0, 200.0)


async def test_the_map_shows_the_edges_that_traffic_made_and_no_others(
    short_folder: Path, envoy_binary: Path, prometheus_binary: Path
) -> None:
    async with running(short_folder, FILES, envoy_binary, slow_s={("back", "v1"): SLOW_S}) as world:
        await answered(world, "/v1/items", 200)
        took_ms = await load(world, seconds=12.0)
        async with httpx.AsyncClient(proxy=world.proxy("front"), trust_env=False) as front:
            for _ in range(7):
                assert (await front.post("http://back/v1/items")).status_code == 403
            for _ in range(5):
                assert (await front.get("http://elsewhere/")).status_code == 403
        found = await drawn(world, lambda said: len(said["denied"]) == 2 and both_at(said, 7, 5))
        unused = (await ask(world, "?unused"))["edges"]

        edges = {(edge["caller"], edge["callee"]): edge for edge in found["edges"]}
        assert edges.keys() == {("default/front", "default/back"), ("default/front", "default/spare")}
        called = edges["default/front", "default/back"]
        assert (called["rules"], called["mtls"], called["unused"]) == (["default/front-reads-back"], True, False)
        assert called["versions"].keys() == {"v1"}
        assert called["traffic"]["error_share"] == 0.0
        assert called["traffic"]["refused"] == 7
        # All of it was counted, once: what the load sent, the probes that found the mesh ready, what was denied.
        assert len(took_ms) + 7 < called["traffic"]["requests"] < len(took_ms) + 7 + 10

        # A quantile is known to a bucket, and the sidecar does not time the way to itself.
        ranked = sorted(took_ms)
        for name, q in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
            ours, theirs = bisect_left(BOUNDS_MS, called["traffic"][name]), bisect_left(BOUNDS_MS, rank(ranked, q))
            assert ours <= theirs <= ours + 1, (name, called["traffic"][name], rank(ranked, q))

        # The rule let in what was not denied; the other one nothing ever, so it is a candidate for removal.
        rules = {rule["rule"]: rule for rule in found["rules"]}
        assert rules.keys() == {"default/front-reads-back", "default/front-reads-spare"}
        reads, idle = rules["default/front-reads-back"], rules["default/front-reads-spare"]
        assert len(took_ms) <= reads["matched"] < len(took_ms) + 10
        assert called["matched"] == {"default/front-reads-back": reads["matched"]}
        assert (reads["unused"], idle["unused"], idle["matched"], idle["ever_used"]) == (False, True, 0, False)

        assert found["denied"] == [
            {"caller": "default/front", "callee": "", "refused_by": "caller",
             "reasons": {"denied-not-in-scope": 5}, "at_most": 5},
            {"caller": "default/front", "callee": "default/back", "refused_by": "callee",
             "reasons": {"no-rule-for-request": 7}, "at_most": 7},
        ]  # fmt: skip
        assert [(edge["caller"], edge["callee"], edge["ever_used"]) for edge in unused] == [
            ("default/front", "default/spare", False)
        ]
        assert unused[0]["unused_since"] == found["watched_since"]
        assert found["not_read"] == []

        async with scraping(world.api.removeprefix("http://"), short_folder, prometheus_binary) as reads:
            await counted(reads, called["traffic"]["requests"])

        # One that cannot be read is not called quiet, and neither are its edges.
        await world.sidecars.kill("default/front/v1/127.0.7.11")
        gone = await drawn(world, lambda said: bool(said["not_read"]))
        assert gone["not_read"] == ["default/front/v1/127.0.7.11"]
        assert (await ask(world, "?unused"))["edges"] == []


async def load(world: World, seconds: float) -> list[float]:
    """A steady stream of calls, and how long each took for the one who called, in milliseconds.

    On one bare connection: a client library takes longer over a call than both sidecars do.
    """
    clock = SystemClock()
    took: list[float] = []
    host, port = world.proxy("front").removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        began = clock.monotonic()
        writer.write(b"GET /v1/items HTTP/1.1\r\nhost: back\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        assert head.startswith(b"http/1.1 200 ")
        assert length is not None
        await reader.readexactly(int(length[1]))
        took.append((clock.monotonic() - began) * 1_000)
        await clock.sleep(0.02)
    writer.close()
    return took


async def counted(reads: Prometheus, requests: int) -> None:
    """A Prometheus that scrapes the controller is told the same, by edge."""
    edge = '{source="default/front",destination="default/back",version="v1"}'
    # What the sidecars had counted before the controller looked first is on the map neither.
    await reads.until(f"policyd_edge_requests_total{edge}", requests)
    assert await reads.value(f"policyd_edge_refused_total{edge}") == 7
    assert await reads.value(f"policyd_edge_errors_total{edge}") == 0
    assert await reads.value(f"policyd_edge_retries_total{edge}") == 0
    assert await reads.value(f"policyd_edge_open_circuits{edge}") == 0
    median = await reads.value(f"histogram_quantile(0.5, policyd_edge_latency_seconds_bucket{edge})")
    assert median is not None
    # The application takes its time in the middle of the bucket from 20 to 50 ms.
    assert 0.02 <= median <= 0.05
    assert await reads.value(f"policyd_edge_latency_seconds_count{edge}") == requests
    unused = 'policyd_edge_requests_total{source="default/front",destination="default/spare"}'
    assert await reads.value(unused) in {None, 0}


def rank(ranked: list[float], q: float) -> float:
    return ranked[min(len(ranked) - 1, int(q * len(ranked)))]


def both_at(said: dict[str, Any], at_callee: int, at_caller: int) -> bool:
    return {each["refused_by"]: each["at_most"] for each in said["denied"]} == {
        "callee": at_callee, "caller": at_caller,
    }  # fmt: skip


async def ask(world: World, query: str = "") -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=world.api, trust_env=False) as api:
        found: dict[str, Any] = (await api.get(f"/v1/map{query}")).raise_for_status().json()
    return found


async def drawn(world: World, so: Any, within_s: float = 20.0) -> dict[str, Any]:
    """The first map for which `so` holds; fails the test if none comes."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(within_s):
            while not so(found := await ask(world)):
                await SystemClock().sleep(0.1)
    except TimeoutError:
        pytest.fail(f"the map stays at {found}")
    return found
