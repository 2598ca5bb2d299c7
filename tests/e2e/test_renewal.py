"""Leaf certificates are renewed under load, and nobody notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.demo.load import Load, Stream
from policyd.demo.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]


async def test_no_request_fails_while_leaves_are_renewed(start_pair: StartPair) -> None:
    world = await start_pair(leaf="1m")  # the shortest that is allowed: renewed between 24 and 30 s
    clock = SystemClock()
    load = Load(world.proxy("front"), (Stream("GET", "http://back/v1/items", 100.0),), clock)
    load.start()

    seen = {"front-v1-127.0.7.11": set[str](), "back-v1-127.0.7.21": set[str]()}
    end = clock.monotonic() + 60
    while any(len(serials) < 2 for serials in seen.values()) and clock.monotonic() < end:
        for node, serials in seen.items():
            serials.add(await serial(world, node))
        await clock.sleep(0.2)
    await load.stop()

    assert all(len(serials) >= 2 for serials in seen.values()), seen
    assert load.tally.lost == 0, load.tally.reasons
    assert load.tally.requests > 500


async def serial(world: World, node: str) -> str:
    """The serial number of the leaf that a sidecar shows now."""
    transport = httpx.AsyncHTTPTransport(uds=str(world.sidecars.socket(node)))
    async with httpx.AsyncClient(transport=transport, base_url="http://envoy") as admin:
        certificates = (await admin.get("/certs")).json()["certificates"]
    leaves = {chain["serial_number"] for item in certificates for chain in item["cert_chain"]}
    return str(max(leaves, key=lambda number: newest(certificates, number)))


def newest(certificates: list[dict[str, list[dict[str, str]]]], number: str) -> str:
    """When the leaf with this serial number begins to be valid."""
    return max(
        chain["valid_from"]
        for item in certificates
        for chain in item["cert_chain"]
        if chain["serial_number"] == number
    )
