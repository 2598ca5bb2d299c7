"""Keys of tokens on their whole way: from an issuer's real HTTPS server through what is served to a real Envoy."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policyd.identity.key_sets import AGAIN_S, FRESH_S, Fetching, KeySets
from policyd.model.mesh import Mesh
from policyd.model.tokens import Issuer, TokenCondition
from policyd.plan.effective import effective
from policyd.plan.floor import Floor
from policyd.testing.clock import FakeClock
from tests.compilers.envoy.live import LiveEnvoys, live
from tests.compilers.envoy.people import People
from tests.compilers.meshes import PAYMENTS, SETTINGS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, loopback, running
from tests.identity.test_key_sets import Issuer as KeyServer

pytestmark = pytest.mark.e2e

BEFORE, AFTER = People("before"), People("after")
"""One issuer, before and after he has exchanged his key."""


@dataclass
class Followed:
    """An Envoy in front of `payments`, given what the controller would give it once keys have been asked for."""

    world: RealMesh
    envoys: LiveEnvoys
    server: KeyServer
    sets: KeySets
    clock: FakeClock

    def look(self, after_s: float = 0.0) -> bool:
        """Ask for keys so much later, and serve those that are known; whether any changed."""
        self.clock.advance(after_s)
        changed = asyncio.run(self.sets.refresh([self.server.url]))
        self.serve(self.sets)
        return changed

    def serve(self, sets: KeySets) -> None:
        promoted = self.world.mesh
        self.envoys.serve(effective(promoted, [], promoted, Floor(datetime.now(UTC)), keys=sets.keys).common)

    def statuses(self) -> tuple[int, int]:
        """What is answered to a token of the key before, and to one of the key after."""
        (endpoint,) = self.world.mesh.services[PAYMENTS].versions[0].endpoints
        with self.world.peer_of(endpoint, WEB) as peer:
            tokens = [who.token() for who in (BEFORE, AFTER)]
            first, second = (peer.send("GET", "/", headers={"authorization": f"Bearer {each}"}) for each in tokens)
        return first.status, second.status


def asking(net: str, keys_url: str) -> Mesh:
    issuer = Issuer("people", BEFORE.url, BEFORE.audiences, keys_url=keys_url)
    asks = replace(rule(PAYMENTS), token=TokenCondition("people"))
    services = [service(PAYMENTS, v1=[net + "1"]), service(WEB, v1=[net + "2"])]
    return mesh(services, (PAYMENTS, asks), settings=replace(SETTINGS, issuers=(issuer,)))


@pytest.fixture
def followed(envoy_binary: Path, tmp_path: Path) -> Iterator[Followed]:
    server, clock = KeyServer(tmp_path), FakeClock()
    sets = KeySets(tmp_path / "keys.json", Fetching(frozenset({server.host}), server.authorities), clock)
    try:
        with live(envoy_binary) as envoys:
            the_mesh = asking(loopback(os.getpid() + 31), server.url)
            with running(the_mesh, envoys, only={PAYMENTS}) as world:
                yield Followed(world, envoys, server, sets, clock)
    finally:
        server.stop()


def test_an_envoy_follows_keys_that_are_exchanged_and_keeps_them_while_they_are_not_to_be_had(
    followed: Followed, tmp_path: Path
) -> None:
    assert followed.statuses() == (401, 401), "nobody's token is believed before his keys are known"
    followed.server.offers(*json.loads(BEFORE.keys)["keys"])
    assert followed.look()
    assert followed.statuses() == (200, 401)

    followed.server.offers(*json.loads(BEFORE.keys)["keys"], *json.loads(AFTER.keys)["keys"])
    assert followed.look(FRESH_S)
    assert followed.statuses() == (200, 200)
    followed.server.offers(*json.loads(AFTER.keys)["keys"])
    assert followed.look(FRESH_S)
    assert followed.statuses() == (401, 200), "a key that was taken back opens nothing any more"

    followed.server.offers({"kty": "none", "alg": "none"})
    assert not followed.look(FRESH_S)
    assert followed.statuses() == (401, 200)
    followed.server.stop()
    assert not followed.look(AGAIN_S)
    assert (followed.statuses(), "are not to be had" in followed.sets.trouble) == ((401, 200), True)

    again = KeySets(tmp_path / "keys.json", Fetching(frozenset({followed.server.host})), followed.clock)
    followed.serve(again)
    assert followed.statuses() == (401, 200), "nor does a restart of the controller take them away"
