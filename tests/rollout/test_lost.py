"""A store that is gone while proxies run: nothing is sent to them before a person has said what was promoted."""

from __future__ import annotations

import json

import pytest

from policyd.base.errors import UsageError
from policyd.delivery.snapshot import NodeSnapshot
from policyd.rollout.doubt import TRIAL_S
from policyd.rollout.record import Phase
from tests.rollout.world import CHECKOUT, World, mesh, service


async def mid_canary(world: World) -> None:
    """Checkout v2 has 5 % of the requests."""
    await world.driver.accept("c1", mesh())
    await world.ticks(2)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    await world.ticks(1)
    assert world.split() == {"v1": 9_500, "v2": 500}


def lose(world: World, *, remembered: bool = True) -> None:
    """The controller dies, its store is deleted, and it starts again; `remembered` on disk by what proxies run."""
    nodes = set(world.delivery.live)
    world.store.close()
    for suffix in ("", "-wal", "-shm"):
        world.path.with_name(world.path.name + suffix).unlink(missing_ok=True)
    world.delivery.holding = nodes if remembered else set()
    world.crash()
    world.delivery.barriers.clear()


def is_lost(world: World) -> bool:
    """Asked anew each time."""
    return world.driver.lost


def split_in(snapshot: NodeSnapshot) -> dict[str, int]:
    """Checkout's split as a node was given it."""
    split: dict[str, int] = json.loads(snapshot.resources["view"][snapshot.node_id].body)["splits"][str(CHECKOUT)]
    return split


async def test_a_lost_store_holds_what_proxies_run(world: World) -> None:
    await mid_canary(world)
    lose(world)
    assert world.driver.lost
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    await world.ticks(5)
    assert world.delivery.barriers == []
    assert world.split() == {"v1": 9_500, "v2": 500}
    assert world.driver.promoted is None
    assert (world.driver.status().head, world.driver.status().serving) == ("", False)
    assert world.kinds() == ["stalled"]


async def test_what_was_lost_stays_so_after_another_start(world: World) -> None:
    await mid_canary(world)
    lose(world)
    await world.ticks(1)
    world.delivery.holding.clear()  # nobody is left who would tell
    world.crash()
    assert world.driver.lost
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    assert world.delivery.barriers == []


async def test_recovery_leads_back_to_the_base_and_the_canary_begins_again(world: World) -> None:
    await mid_canary(world)
    lose(world)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")), "ada")
    await world.driver.recover("c1", mesh())
    assert (is_lost(world), world.delivery.withheld) == (False, False)
    given = [split_in(snapshot) for barrier in world.delivery.barriers for snapshot in barrier.values()]
    assert [split for split in given if split not in ({"v1": 10_000}, {"v1": 9_500, "v2": 500})] == []
    assert {"v1": 10_000} in given
    await world.ticks(1)
    assert world.split() == {"v1": 9_500, "v2": 500}
    record = world.record()
    assert (record.phase, record.stage, record.commit, record.author) == (Phase.PROGRESSING, 1, "c2", "ada")
    assert world.driver.status().head == "c2"
    await world.ticks(30)
    assert world.phase() is Phase.PROMOTED
    assert world.store.load().lost is False


async def test_recovery_with_the_head_serves_it_at_once(world: World) -> None:
    await mid_canary(world)
    lose(world)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    await world.driver.recover("c2", mesh(service(CHECKOUT, "v2")))
    assert world.split() == {"v2": 10_000}
    assert world.driver.records() == ()
    assert world.driver.status().settled


async def test_instances_are_where_git_says_they_are_now(world: World) -> None:
    await mid_canary(world)
    lose(world)
    await world.driver.accept("c3", mesh(service(CHECKOUT, "v1", instances=3)))
    await world.driver.recover("c1", mesh())
    assert "default/checkout/v1/127.0.1.12" in world.delivery.live


async def test_a_new_store_serves_at_once_and_only_a_proxy_that_holds_something_else_refutes_it(world: World) -> None:
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    await world.ticks(3)
    assert world.split() == {"v1": 9_500, "v2": 500}
    world.delivery.barriers.clear()

    world.delivery.holding.add("default/web/v1/127.0.3.10")
    await world.ticks(3)
    assert is_lost(world)
    assert (world.driver.promoted, world.driver.records(), world.driver.serving()) == (None, (), None)
    assert world.delivery.barriers == []

    await world.driver.recover("c1", mesh())
    world.delivery.holding.clear()
    await world.ticks(2)
    assert (world.record().commit, world.record().phase) == ("c2", Phase.PROGRESSING)
    assert world.split() == {"v1": 9_500, "v2": 500}


async def test_after_its_trial_a_mesh_is_the_first_one_whoever_returns(world: World) -> None:
    await world.driver.accept("c1", mesh())
    assert (is_lost(world), world.delivery.withheld) == (False, True)
    await world.ticks(int(TRIAL_S))
    assert (is_lost(world), world.delivery.withheld) == (False, False)
    world.delivery.holding.add("default/web/v1/127.0.3.10")
    await world.ticks(1)
    assert not is_lost(world)


async def test_a_store_that_knows_what_is_promoted_asks_nobody(world: World) -> None:
    await mid_canary(world)
    world.delivery.holding = set(world.delivery.live)
    world.crash()
    assert not world.driver.lost
    assert (is_lost(world), world.delivery.withheld) == (False, False)
    with pytest.raises(UsageError, match="is not lost"):
        await world.driver.recover("c1", mesh())
