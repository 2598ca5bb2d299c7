"""The bundle of what is promoted: packed once, another one for another mesh, and everybody who waits is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from policyd.base.errors import Retry
from policyd.daemon.deciding import Promoted
from policyd.daemon.publishing import Publisher
from policyd.daemon.serials import Serials
from policyd.decisions.bundle import Packed, unpack
from policyd.decisions.signature import Verifier
from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.revocation import Revocation
from policyd.testing.clock import FakeClock
from tests.decider.server import SIGNER
from tests.rollout.world import PAYMENTS, WEB, mesh, rule

WEB_ID = "spiffe://shop.example/ns/default/svc/web"


class World:
    """A controller that promotes what the test says."""

    def __init__(self, state: Path) -> None:
        self.clock = FakeClock()
        self.promoted: Promoted | None = None
        self.publisher = Publisher(lambda: self.promoted, self.clock, SIGNER, {}, Serials(state, self.clock))

    def promote(self, promoted: Mesh, commit: str = "c" * 40, cuts: tuple[Revocation, ...] = ()) -> None:
        self.promoted = Promoted(promoted, commit, {}, None, cuts)

    async def bundle(self, known: str = "", wait_s: float = 0.0) -> Packed:
        return await self.publisher.bundle(known, wait_s)


def shop(*, ends_s: int | None = None) -> Mesh:
    expires = None if ends_s is None else FakeClock().now() + timedelta(seconds=ends_s)
    return mesh(access=(Access(PAYMENTS, (rule("web-pays", WEB, expires=expires),)),))


def rules(packed: Packed) -> list[str]:
    said = unpack(packed.body, Verifier(SIGNER.public_pem)).mesh
    return [each["name"] for each in said["services"]["default/payments"]["rules"]]


async def test_there_is_none_before_anything_is_promoted(tmp_path: Path) -> None:
    with pytest.raises(Retry):
        await World(tmp_path).bundle()


async def test_equal_content_is_packed_once_and_keeps_its_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote(shop())
    first = await world.bundle()
    assert await world.bundle() is first
    world.promote(shop())
    assert (await world.bundle()).etag == first.etag
    world.promote(shop(), "d" * 40)
    assert (await world.bundle()).etag != first.etag


def serial(packed: Packed) -> int:
    return unpack(packed.body, Verifier(SIGNER.public_pem)).serial


async def test_every_other_bundle_has_a_higher_number_and_an_equal_one_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote(shop())
    first = await world.bundle()
    world.promote(shop(), cuts=(Revocation(Name("default", "leaked"), "key found", identity=WEB_ID),))
    closed = await world.bundle()
    world.promote(shop())
    lifted = await world.bundle()
    assert serial(first) < serial(closed) < serial(lifted)
    again = World(tmp_path)
    again.promote(shop())
    assert (await again.bundle()).etag == lifted.etag


def test_numbers_go_up_over_restarts_and_clocks_that_go_back_and_full_disks(tmp_path: Path) -> None:
    clock = FakeClock()
    first = Serials(tmp_path, clock).of("a")
    clock.turn(-86_400)
    second = Serials(tmp_path, clock).of("b")
    assert Serials(tmp_path, clock).of("b") == second
    gone = Serials(tmp_path / "gone", clock)  # as a disk that takes nothing
    numbers = [gone.of("a"), gone.of("a"), gone.of("b")]
    assert numbers[0] == numbers[1] < numbers[2]
    clock.turn(2 * 86_400)
    (tmp_path / "serial.json").write_text("{")
    assert first < second < Serials(tmp_path, clock).of("c")


async def test_a_rule_that_has_ended_is_in_no_bundle(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote(shop(ends_s=60))
    assert rules(await world.bundle()) == ["default/web-pays"]
    world.clock.advance(61)
    assert rules(await world.bundle()) == []


async def test_who_is_cut_off_is_named_in_the_bundle(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote(shop(), cuts=(Revocation(Name("default", "leaked"), "key found", identity=WEB_ID),))
    said = unpack((await world.bundle()).body, Verifier(SIGNER.public_pem)).mesh
    assert said["services"]["default/payments"]["revoked"] == [WEB_ID]


async def test_all_who_wait_are_given_the_next_one_though_one_of_them_had_it_packed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote(shop())
    known = (await world.bundle()).etag
    waiting = [asyncio.create_task(world.bundle(known, 30.0)) for _ in range(3)]
    await asyncio.sleep(0)
    world.promote(shop(), "d" * 40)
    await world.bundle()
    while not all(task.done() for task in waiting):
        world.clock.advance(0.1)
        await asyncio.sleep(0)
    assert {(await task).revision for task in waiting} == {"d" * 40}


async def test_who_waits_in_vain_is_told_what_he_knows_in_time_or_when_the_controller_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote(shop())
    known = (await world.bundle()).etag
    ends: list[Callable[[], None]] = [lambda: world.clock.advance(31.0), world.publisher.close]
    for end in ends:
        waiting = asyncio.create_task(world.bundle(known, 30.0))
        await asyncio.sleep(0.01)
        end()
        while not waiting.done():
            world.clock.advance(0.1)
            await asyncio.sleep(0)
        assert (await waiting).etag == known
