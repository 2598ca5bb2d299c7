"""A host outside of the mesh through the whole controller: rules in its callers' proxies are released and closed.

The host has an address that is kept for documentation and leads nowhere: what may leave is answered 503, else 403.
Real traffic to a real server outside is in `tests/compilers/envoy/test_egress.py`.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from policyd.demo.acts import all_in_sync
from policyd.demo.world import World
from tests.e2e import intents
from tests.e2e.conftest import MESH, answered, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OUTSIDE = """\
apiVersion: policyd.dev/v1alpha1
kind: Egress
metadata: {name: partner, owner: test}
spec:
  host: api.partner.example
  addresses: [192.0.2.7]
  resilience: {timeout: {connect: 200ms, request: 1s}}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: front-reads-partner, owner: test}
spec:
  to: partner
  from: [front]
  allow: [{methods: [GET], paths: [/v1/PATH]}]
"""
REVOKED = """\
apiVersion: policyd.dev/v1alpha1
kind: Revocation
metadata: {name: leak, owner: security}
spec:
  cut: {from: front, to: partner}
  reason: SEC-1
"""
HOST = "api.partner.example"
FILES = {"mesh": MESH.replace("LEAF", "24h"), "services/front": intents.service("front", {"v1": "127.0.7.11"})}


async def test_rules_for_the_way_out_are_released_and_closed(short_folder: Path, envoy_binary: Path) -> None:
    files = {**FILES, "outside": OUTSIDE.replace("PATH", "old")}
    async with running(short_folder, files, envoy_binary) as world:
        await leaves(world, {"/v1/old": True, "/v1/new": False})

        await committed(world, "outside", OUTSIDE.replace("PATH", "new"))
        await leaves(world, {"/v1/new": True, "/v1/old": False})

        await committed(world, "leak", REVOKED)
        await leaves(world, {"/v1/new": False, "/v1/old": False})
        async with httpx.AsyncClient(base_url=world.api, trust_env=False) as api:
            edges = (await api.get("/v1/map")).raise_for_status().json()["edges"]
        assert [(edge["caller"], edge["callee"]) for edge in edges if not edge["rules"]] == [
            ("default/front", "default/partner")
        ]


async def leaves(world: World, paths: dict[str, bool]) -> None:
    for path, out in paths.items():
        await answered(world, path, 503 if out else 403, host=HOST)


async def committed(world: World, name: str, text: str) -> None:
    (world.repository.path / f"{name}.yaml").write_text(text)
    commit = world.repository.commit(name)
    await world.client.until("promoted", lambda s: s["head"] == commit and all_in_sync(s), within_s=60)
