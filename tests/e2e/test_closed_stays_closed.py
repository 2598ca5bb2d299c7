"""Going back never opens again what was closed: each way back, after a rule has ended and after a revocation.

One mesh for all of it. `front` may read `back` for good, and `/v1/short` for some seconds only; `other` may read it
until it is cut off. Every way back is taken with real proxies, and requests are sent after each. The abort leads back
to what was there while both were open, and the refusal is that of the very commit that cuts off.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync, phase_of_settings, taken
from policyd.demo.client import weight_of
from policyd.demo.world import World
from tests.e2e import intents
from tests.e2e.conftest import MESH, answered, command, running
from tests.e2e.test_asking import policyd

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

BACK_V1 = "127.0.7.21"
BACK = f"default/back/v1/{BACK_V1}"
OTHER = "spiffe://pair.example/ns/default/svc/other"
OTHER_READS = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: other-reads-back, owner: test}
spec: {to: back, from: [other], allow: [{methods: [GET], paths: [/v1/items]}]}
"""
FOR_A_WHILE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: for-a-while, owner: test}}
spec: {{to: back, from: [front], allow: [{{methods: [GET], paths: [/v1/short]}}], expires: "{}"}}
"""
LEAK = """\
apiVersion: policyd.dev/v1alpha1
kind: Revocation
metadata: {name: leak, owner: test}
spec: {cut: {identity: other}, reason: key in a log}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(envoy_binary: Path) -> AsyncIterator[World]:
    back = intents.called("back", {"v1": BACK_V1, "v2": "127.0.7.22"}, "1h") + OTHER_READS
    files = {
        "mesh": MESH.replace("LEAF", "24h"),
        "services/front": intents.service("front", {"v1": "127.0.7.11"}),
        "services/other": intents.service("other", {"v1": "127.0.7.12"}),
        "services/back": back,
    }
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        async with running(Path(folder), files, envoy_binary) as world:
            await answered(world, "/v1/items", 200)
            await answered(world, "/v1/items", 200, caller="other")
            await _close_while_a_canary_is_on_its_way(world)
            yield world


async def _close_while_a_canary_is_on_its_way(world: World) -> None:
    ends = SystemClock().now() + timedelta(seconds=8)
    (world.repository.path / "short.yaml").write_text(FOR_A_WHILE.format(f"{ends:%Y-%m-%dT%H:%M:%SZ}"))
    await live(world, world.repository.commit("back: open for a while"))
    await answered(world, "/v1/short", 200)
    world.repository.serve("back", "v2")
    await world.client.until(
        "the first stage", lambda s: weight_of(s, "back", "v2") == 10 and all_in_sync(s), within_s=60
    )
    (world.repository.path / "leak.yaml").write_text(LEAK)
    await live(world, world.repository.commit("cut other off"))
    await answered(world, "/v1/short", 403)


async def live(world: World, commit: str) -> dict[str, Any]:
    return await world.client.until(
        "the commit everywhere", lambda s: s["head"] == commit and all_in_sync(s), within_s=60
    )


async def closed(world: World) -> None:
    """What has ended and who is cut off is denied; what is allowed is answered."""
    await answered(world, "/v1/items", 200)
    for caller, path in (("front", "/v1/short"), ("other", "/v1/items")):
        async with httpx.AsyncClient(proxy=world.proxy(caller), trust_env=False) as client:
            for _ in range(20):
                assert (await client.get(f"http://back{path}")).status_code == 403, (caller, path)
    decided = await world.client.explain(OTHER, "back", "GET", "/v1/items")
    assert (decided["allow"], "cut off" in str(decided) or "revoked" in str(decided)) == (False, True)


async def an_abort(world: World) -> None:
    """Of a canary that began while both were open."""
    assert weight_of(await world.client.status(), "back", "v2") == 10, "still on its way"
    await command(world, "back", "abort")
    await world.client.until("back at its base", lambda s: weight_of(s, "back", "v2") == 0, within_s=60)
    await live(world, world.repository.serve("back", "v1"))


async def a_refusal(world: World) -> None:
    """Of the commit that cuts off: what the proxy acknowledged last is from when the caller was let in."""
    (world.repository.path / "leak.yaml").unlink()
    await live(world, world.repository.commit("other did nothing wrong"))
    await lift(world)
    await answered(world, "/v1/items", 200, caller="other")
    with taken(BACK_V1, 15_007):
        (world.repository.path / "leak.yaml").write_text(LEAK)
        commit = world.repository.listen(15_007)
        await world.client.until(
            "the port taken back",
            lambda s: phase_of_settings(s, commit) == "aborted" and all_in_sync(s),
            within_s=60,
        )
        await closed(world)
        world.repository.replace("mesh.yaml", "\n  ports: {inbound: 15007}", "")
        await live(world, world.repository.commit("mesh: listen where it did"))


async def lift(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.api, trust_env=False) as api:
        assert (await api.post("/v1/revocations/default/leak/lift")).status_code == 200


async def reverts(world: World) -> None:
    """Git goes back to before the cut, then the rule that has ended is written down once more."""
    (world.repository.path / "leak.yaml").unlink()
    await live(world, world.repository.commit("back to before the cut"))
    await closed(world)
    short = world.repository.path / "short.yaml"
    text = short.read_text()
    short.unlink()
    await live(world, world.repository.commit("no short way"))
    short.write_text(text)
    await live(world, world.repository.commit("the short way as it was"))


async def a_new_controller(world: World) -> None:
    await world.kill_controller()
    await closed_at_the_proxies(world)
    await world.start_controller(tick_s=0.25)
    await live(world, world.repository.head)


async def closed_at_the_proxies(world: World) -> None:
    async with httpx.AsyncClient(proxy=world.proxy("other"), trust_env=False) as client:
        assert (await client.get("http://back/v1/items")).status_code == 403


async def a_new_proxy(world: World) -> None:
    await world.sidecars.kill(BACK)
    await world.start_sidecar(BACK)
    await live(world, world.repository.head)


@pytest.mark.parametrize("goes_back", [an_abort, a_refusal, reverts, a_new_controller, a_new_proxy])
async def test_going_back_never_opens_again(world: World, goes_back: Callable[[World], Awaitable[None]]) -> None:
    await goes_back(world)
    await closed(world)


async def test_only_a_persons_word_lets_a_revoked_caller_in_again(world: World) -> None:
    (held,) = await revocations(world)
    assert (held["identity"], held["asked_for"], held["missing"]) == (OTHER, False, [])
    await lift(world)
    await answered(world, "/v1/items", 200, caller="other")


async def test_a_person_cuts_off_at_once_and_is_shown_that_nothing_stays_open(world: World) -> None:
    said = await policyd(world, "revoke", "other", "--to", "back", "--reason", "seen in a log")
    assert said.exit_code == 0, said.output
    proof = re.search(r"enforced on (\d+) of (\d+) proxies, last open connection cut after (\d+\.\d) s", said.stdout)
    assert proof is not None, said.stdout
    assert proof.group(1, 2) == ("2", "2"), "both instances of back: nobody else would let it in"
    assert float(proof[3]) > 0
    (held,) = await revocations(world)
    assert (held["identity"], held["asked_for"], held["missing"]) == (OTHER, False, [])
    await closed(world)


async def revocations(world: World) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=world.api, trust_env=False) as api:
        return list((await api.get("/v1/revocations")).json()["revocations"])
