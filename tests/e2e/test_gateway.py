"""The way in through the whole controller: a gateway's routes come and go by commits, its certificate by its files.

One connection from outside lives through all of it. For what else a gateway does, see the tests of its compiler.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync
from policyd.demo.world import World
from tests.compilers.envoy.outside import certificate
from tests.compilers.world import Connection, Reply
from tests.e2e import intents
from tests.e2e.conftest import MESH, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOST, AT = "www.shop.example", ("127.0.7.91", 8443)
GATEWAY = """\
apiVersion: policyd.dev/v1alpha1
kind: Gateway
metadata: {name: edge, owner: test}
spec:
  endpoints: [127.0.7.91]
  listeners: [{port: 8443, hosts: www.shop.example, tls: {certificate: shop}}]
  routes:
    - {match: {paths: [/v1/items]}, to: back}
"""
MORE = "    - {match: {paths: [/v1/more]}, to: back}\n"
RULE = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: edge-reads-back, owner: test}
spec:
  to: back
  from: [edge]
  allow: [{methods: [GET], paths: [/v1/items, /v1/more]}]
"""
FILES = {
    "mesh": MESH.replace("LEAF", "24h"),
    "edge": GATEWAY,
    "services/back": intents.service("back", {"v1": "127.0.7.21"}) + RULE,
}


class Issued:
    """Certificates for the host, as somebody renews them: two files, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self._next = b""
        self.roots = folder

    def write_chain(self) -> None:
        self.roots, pair = certificate(self._folder, HOST)
        chain, begin, rest = pair.read_bytes().partition(b"-----BEGIN PRIVATE")
        self._next = begin + rest
        self.chain.write_bytes(chain)

    def write_key(self) -> None:
        self.key.write_bytes(self._next)

    def client(self) -> Connection:
        """Who trusts the newest roots alone, at the time of the handshake."""
        return Connection(AT, ssl.create_default_context(cafile=self.roots), asking_for=HOST)


async def test_routes_and_certificates_come_and_go_on_one_connection(short_folder: Path, envoy_binary: Path) -> None:
    (short_folder / "certificates").mkdir()
    issued = Issued(short_folder / "certificates")
    issued.write_chain()
    issued.write_key()
    settings = {"certificates": {"shop": {"chain": str(issued.chain), "key": str(issued.key)}}}
    async with running(short_folder, FILES, envoy_binary, more=settings) as world:
        with issued.client() as kept:
            await until_answered(kept, "/v1/items", 200)
            denied = ask(kept, "/v1/items", "POST")
            assert (denied.status, "spiffe://" in str(denied)) == (403, False)
            assert ask(kept, "/v1/more").status == 404

            more = await committed(world, GATEWAY + MORE)
            await until_answered(kept, "/v1/more", 200)

            issued.write_chain()
            await world.client.until("half of a pair is said", lambda s: "certificates" in str(s), within_s=10)
            issued.write_key()
            await until_shown(issued)
            await world.client.until("the trouble is over", lambda s: not s["troubles"], within_s=10)
            # It trusts the old roots alone, so that it could not have begun anew.
            assert ask(kept, "/v1/items").status == 200

            world.repository.revert(more)
            await until_answered(kept, "/v1/more", 404)
            assert ask(kept, "/v1/items").status == 200


def ask(client: Connection, path: str, method: str = "GET") -> Reply:
    return client.send(method, path, HOST)


async def committed(world: World, text: str) -> str:
    (world.repository.path / "edge.yaml").write_text(text)
    commit = world.repository.commit("the gateway")
    await world.client.until("promoted", lambda s: s["head"] == commit and all_in_sync(s), within_s=60)
    return commit


async def until_answered(client: Connection, path: str, status: int) -> None:
    clock = SystemClock()
    end = clock.monotonic() + 20
    while (seen := ask(client, path).status) != status:
        assert clock.monotonic() < end, f"{path} is still answered {seen}"
        await clock.sleep(0.05)


async def until_shown(issued: Issued) -> None:
    """Return when a client is shown what the newest roots have signed."""
    clock = SystemClock()
    end = clock.monotonic() + 20
    while True:
        try:
            with issued.client() as client:
                assert ask(client, "/v1/items").status == 200
        except ssl.SSLError:
            assert clock.monotonic() < end, "the old certificate is still shown"
            await clock.sleep(0.05)
        else:
            return
