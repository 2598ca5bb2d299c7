"""Several changes at once, with real Envoys: each has stages and a quarantine of its own and waits for what it needs.

One mesh for all: front calls back and side, each with a canary whose stages only a person ends here (its hold is an
hour), so that a test sees a stage for as long as it looks. Rules go by themselves, in two waves.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from policyd.base.clock import SystemClock
from policyd.demo.acts import all_in_sync, taken
from policyd.demo.client import release_of, weight_of
from policyd.demo.load import Load, Stream
from policyd.demo.world import World
from tests.e2e import intents
from tests.e2e.conftest import answered, command, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: trio, owner: test}
spec:
  trustDomain: trio.example
  strategy: waves
---
apiVersion: policyd.dev/v1alpha1
kind: RolloutStrategy
metadata: {name: waves, owner: test}
spec:
  waves: [{proxies: 1}, {proxies: 100%}]
  hold: 1s
"""
HOLD = "1h"
DEPOT = intents.service("depot", {"v1": "127.0.7.41"})
DEPOT_READS = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: depot-reads-side, owner: test}
spec:
  to: side
  from: [depot]
  allow:
    - {methods: [GET], paths: [/v1/items]}
"""
DEPOT_NODE = "default/depot/v1/127.0.7.41"
INBOUND = 15_006


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(envoy_binary: Path) -> AsyncIterator[World]:
    files = {
        "mesh": MESH,
        "services/front": intents.service("front", {"v1": "127.0.7.11"}),
        "services/back": intents.called("back", {"v1": "127.0.7.21", "v2": "127.0.7.22", "v3": "127.0.7.23"}, HOLD),
        "services/side": intents.called("side", {"v1": "127.0.7.31", "v2": "127.0.7.32"}, HOLD),
    }
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        async with running(Path(folder), files, envoy_binary) as world:
            await world.until_healthy(60)
            yield world


@pytest_asyncio.fixture(loop_scope="module")
async def load(world: World) -> AsyncIterator[Load]:
    """Requests that every version and every rule of these tests allows; none may be lost."""
    streams = tuple(Stream("GET", f"http://{name}/v1/items", 50.0) for name in ("back", "side"))
    load = Load(world.proxy("front"), streams, SystemClock())
    await load.until_answered(30)
    load.start()
    try:
        yield load
    finally:
        await load.stop()
    assert load.tally.lost == 0, load.tally.reasons
    assert load.tally.requests > 50


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def at_rest(world: World) -> AsyncIterator[None]:
    """Each test begins with v1 of both and nothing on its way, whatever the one before it left."""
    yield
    for name in ("back", "side"):
        path = world.repository.path / "services" / f"{name}.yaml"
        if "\n  version: v1\n" not in path.read_text():
            world.repository.serve(name, "v1")
    head = world.repository.head
    await world.client.until("rest", lambda s: s["head"] == head and not moving(s) and all_in_sync(s), within_s=60)


@pytest.mark.usefixtures("load")
async def test_two_canaries_behind_one_caller_run_at_once_and_apart(world: World) -> None:
    back = await canary(world, "back", "v2")
    side = world.repository.serve("side", "v2")
    status = await world.client.until(
        "both canaries under way",
        lambda s: weight_of(s, "back", "v2") == 10 and weight_of(s, "side", "v2") == 10 and all_in_sync(s),
        within_s=60,
    )
    # Their edges end at different services: neither waits for the other.
    assert [one["blocked_by"] for one in moving(status)] == [[], []]
    await only_these_answer(world, {"back": {"v1", "v2"}, "side": {"v1", "v2"}})

    # One goes on and the other goes back, as Git asks: each stands where it was left.
    await command(world, "side", "promote")
    status = await world.client.until("side's next stage", lambda s: weight_of(s, "side", "v2") == 50, within_s=30)
    assert (place(status, "back", back), place(status, "side", side)) == (("progressing", 1), ("progressing", 2))
    world.repository.serve("back", "v1")
    status = await world.client.until("back at its base", lambda s: weight_of(s, "back", "v2") == 0, within_s=30)
    assert place(status, "back", back)[0] == "superseded"
    assert place(status, "side", side) == ("progressing", 2)
    assert weight_of(status, "side", "v2") == 50
    await only_these_answer(world, {"back": {"v1"}, "side": {"v1", "v2"}})


@pytest.mark.usefixtures("load")
async def test_an_unrelated_commit_is_applied_and_leaves_a_canary_where_it_is(world: World) -> None:
    began = await canary(world, "back", "v2")
    await command(world, "back", "promote")
    status = await world.client.until("the second stage", lambda s: weight_of(s, "back", "v2") == 50, within_s=30)
    before = release(status, "back", began)

    other = add_path(world, "side", "/v1/unrelated")
    looked: list[tuple[str, int, float]] = []
    status = await world.client.until(
        "the rule everywhere",
        lambda s: [one["phase"] for one in brought(s, other)] == ["promoted"] and all_in_sync(s),
        within_s=60,
        look=lambda s: looked.append((*place(s, "back", began), weight_of(s, "back", "v2"))),
    )
    await answered(world, "/v1/unrelated", 200, host="side")
    after = release(status, "back", began)
    assert set(looked) == {("progressing", 2, 50.0)}
    assert (after["id"], after["since"], after["commit"]) == (before["id"], before["since"], began)

    # A rule of back itself is measured on the same edges: it waits for the canary.
    mine = add_path(world, "back", "/v1/related")
    status = await world.client.until("back's rule", lambda s: brought(s, mine), within_s=30)
    assert [one["phase"] for one in brought(status, mine)] == ["waiting"]
    assert brought(status, mine)[0]["blocked_by"] == ["service default/back"]
    await answered(world, "/v1/related", 403)
    world.repository.serve("back", "v1")
    await world.client.until("the rule's turn", lambda s: brought(s, mine)[0]["phase"] == "promoted", within_s=60)
    await answered(world, "/v1/related", 200)


@pytest.mark.usefixtures("load")
async def test_a_commit_that_alters_a_canary_in_flight_takes_it_to_its_base_and_first_stage(world: World) -> None:
    side = await canary(world, "side", "v2")
    first = await canary(world, "back", "v2")
    await command(world, "back", "promote")
    await world.client.until("the second stage", lambda s: weight_of(s, "back", "v2") == 50, within_s=30)

    altered = world.repository.serve("back", "v3")
    status = await world.client.until(
        "the altered canary's first stage",
        lambda s: weight_of(s, "back", "v3") == 10 and all_in_sync(s),
        within_s=60,
        # Never more than its own first stage of what has not been tried yet.
        look=lambda s: check(weight_of(s, "back", "v3") <= 10),
    )
    assert place(status, "back", first)[0] == "superseded"
    assert place(status, "back", altered) == ("progressing", 1)
    assert release(status, "back", altered)["weights"] == {"v1": 9_000, "v3": 1_000}
    assert place(status, "side", side) == ("progressing", 1)
    await only_these_answer(world, {"back": {"v1", "v3"}, "side": {"v1", "v2"}})


@pytest.mark.usefixtures("load")
async def test_what_refers_to_a_quarantined_addition_is_blocked_by_it_until_that_is_replaced(world: World) -> None:
    depot = world.repository.path / "services" / "depot.yaml"
    depot.write_text(DEPOT)
    await world.start_sidecar(DEPOT_NODE)
    # There before it is asked for: one that comes later is shown as degraded, and the change is everywhere else.
    await world.client.until("its proxy waits", lambda _: DEPOT_NODE in world.log("controller"), within_s=60)
    with taken("127.0.7.41", INBOUND):
        added = world.repository.commit("a depot, on a host where its port is taken")
        status = await world.client.until(
            "the depot refused", lambda s: [one["phase"] for one in brought(s, added)] == ["aborted"], within_s=60
        )
        assert "cannot bind" in brought(status, added)[0]["quarantine"]
        (world.repository.path / "services" / "depot-reads.yaml").write_text(DEPOT_READS)
        reads = world.repository.commit("the depot reads side")
        status = await world.client.until("the rule", lambda s: brought(s, reads), within_s=30)
        assert [one["phase"] for one in brought(status, reads)] == ["waiting"]
        assert brought(status, reads)[0]["blocked_by"] == ["service default/depot (quarantined)"]

        # What does not refer to it flows around it.
        other = add_path(world, "back", "/v1/around")
        await world.client.until(
            "the other rule", lambda s: [one["phase"] for one in brought(s, other)] == ["promoted"], within_s=60
        )
        await answered(world, "/v1/around", 200)

    depot.write_text(DEPOT + "  resilience: {timeout: {request: 5s}}\n")
    replaced = world.repository.commit("depot: other content")
    await world.client.until(
        "the depot and its rule",
        lambda s: (
            [one["phase"] for one in brought(s, replaced)] == ["promoted"]
            and [one["phase"] for one in brought(s, reads)] == ["promoted"]
            and all_in_sync(s)
        ),
        within_s=60,
    )
    await answered(world, "/v1/items", 200, caller="depot", host="side")


async def test_rules_that_widen_and_narrow_go_in_waves_and_lose_no_request(world: World, load: Load) -> None:
    waves: dict[str, set[str]] = {}

    def look(status: dict[str, Any]) -> None:
        for one in moving(status):
            waves.setdefault(one["commit"], set()).add(one["stage_text"])

    await answered(world, "/v1/items/7", 200)
    await answered(world, "/v1/more", 403)
    wider = add_path(world, "back", "/v1/more")
    await world.client.until(
        "wider", lambda s: [one["phase"] for one in brought(s, wider)] == ["promoted"], within_s=60, look=look
    )
    await answered(world, "/v1/more", 200)
    world.repository.replace("services/back.yaml", ', "/v1/items/{id}"', "")
    narrower = world.repository.commit("back: no single items any more")
    await world.client.until(
        "narrower", lambda s: [one["phase"] for one in brought(s, narrower)] == ["promoted"], within_s=60, look=look
    )
    await answered(world, "/v1/items/7", 403)
    await answered(world, "/v1/more", 200)
    every = {"1 instance of each service", "every proxy"}
    assert waves[wider] >= every
    assert waves[narrower] >= every
    assert load.tally.lost == 0, load.tally.reasons


def add_path(world: World, service: str, path: str) -> str:
    """One more path in the rule of a service. Returns the commit id."""
    world.repository.replace(f"services/{service}.yaml", "paths: [/v1/items,", f"paths: [/v1/items, {path},")
    return world.repository.commit(f"{service}: also {path}")


async def only_these_answer(world: World, expected: dict[str, set[str]]) -> None:
    """Exactly these versions answer front's calls: ten in a hundred do not hide in four hundred requests."""
    async with httpx.AsyncClient(proxy=world.proxy("front"), trust_env=False) as client:
        for name, versions in expected.items():
            seen: Counter[str] = Counter()
            for _ in range(400):
                reply = await client.get(f"http://{name}/v1/items")
                assert reply.status_code == 200, reply.text
                seen[reply.headers["x-version"]] += 1
            assert seen.keys() == versions, (name, seen)


async def canary(world: World, service: str, version: str) -> str:
    """Ask for a version and return once it is at its first stage. Returns the commit id."""
    commit = world.repository.serve(service, version)
    await world.client.until("the first stage", lambda s: weight_of(s, service, version) == 10, within_s=60)
    return commit


def moving(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The releases that are not over."""
    return [one for one in status["releases"] if one["phase"] not in {"promoted", "aborted", "superseded"}]


def brought(status: dict[str, Any], commit: str) -> list[dict[str, Any]]:
    """The releases that a commit began."""
    return [one for one in status["releases"] if one["commit"] == commit]


def release(status: dict[str, Any], service: str, commit: str) -> dict[str, Any]:
    found = release_of(status, service, commit)
    assert found is not None
    return found


def place(status: dict[str, Any], service: str, commit: str) -> tuple[str, int]:
    """The phase and stage of a canary."""
    one = release(status, service, commit)
    return one["phase"], one["stage"]


def check(so: bool) -> None:
    assert so
