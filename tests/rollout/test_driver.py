"""The driver over fakes of the world: a release from its commit to its end, and everything that can come between."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policyd.base.errors import Retry, Stalled, UsageError
from policyd.compiler.artifact import Artifact, Compiled
from policyd.compiler.memo import Memo
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.node import Node
from policyd.rollout.event import Kind
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase
from tests.rollout.world import CHECKOUT, DEPOT, PAYMENTS, WEB, World, WritingCompiler, mesh, rule, service


async def begun(world: World) -> None:
    """The mesh is live and checkout v2 has been asked for."""
    await world.driver.accept("c1", mesh())
    await world.ticks(2)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")), "ada")


@contextlib.contextmanager
def held(world: World) -> Iterator[None]:
    """Another process holds the store, and the driver does not wait for it."""
    world.store._db.execute("PRAGMA busy_timeout = 0")
    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        yield


async def test_the_first_head_is_served_at_once(world: World) -> None:
    await world.driver.accept("c1", mesh())
    assert world.split() == {"v1": 10_000}
    assert len(world.delivery.live) == 18
    assert world.driver.status().settled
    assert world.driver.records() == ()
    assert world.kinds() == ["served"]


async def test_a_good_canary_climbs_and_is_promoted(world: World) -> None:
    await begun(world)
    seen = [world.split()]
    for _ in range(30):
        await world.ticks(1)
        if world.split() != seen[-1]:
            seen.append(world.split())
        if world.phase() is Phase.PROMOTED:
            break
    assert seen == [{"v1": 9_500, "v2": 500}, {"v1": 5_000, "v2": 5_000}, {"v2": 10_000}]
    record = world.record()
    assert (record.phase, record.title, record.author) == (Phase.PROMOTED, "default/checkout v1 -> v2", "ada")
    assert world.driver.status().settled
    assert world.driver.promoted is not None
    assert world.driver.promoted.services[CHECKOUT].serving == "v2"
    assert world.store.load().promoted == replace(world.driver.promoted, releases=mesh().releases.__class__())


async def test_each_stage_is_held_for_its_time(world: World) -> None:
    await begun(world)
    await world.ticks(3)  # the tick in which the weight moved is dropped
    assert world.record().stage == 1
    await world.ticks(1)
    assert world.record().stage == 2


async def test_a_bad_canary_goes_back_and_stays_away(world: World) -> None:
    world.bad.add("default/checkout/v2")
    await begun(world)
    await world.ticks(3)
    record = world.record()
    assert record.phase is Phase.ABORTED
    assert "requests failed" in record.quarantine
    assert record.evidence.e_value >= 100
    assert world.split() == {"v1": 10_000}
    diverged = world.driver.status().diverged
    assert len(diverged) == 1
    assert diverged[0].startswith("default/checkout v1 -> v2: ")
    # The same content from another commit is not tried again, not even after Git had gone back.
    await world.driver.accept("c3", mesh(service(CHECKOUT, "v2"), service(PAYMENTS, request_ms=9_000)))
    await world.ticks(3)
    await world.driver.accept("c4", mesh())
    await world.driver.accept("c5", mesh(service(CHECKOUT, "v2")))
    await world.ticks(3)
    assert world.split() == {"v1": 10_000}
    assert world.phase() is Phase.ABORTED
    assert world.record().reason == world.record().quarantine  # a release that never began still says why
    # Other content is another matter.
    await world.driver.accept("c6", mesh(service(CHECKOUT, "v3")))
    assert world.split() == {"v1": 9_500, "v3": 500}


async def test_a_person_can_have_quarantined_content_tried_again(world: World) -> None:
    await begun(world)
    await world.driver.command("checkout", Command.ABORT)
    assert world.split() == {"v1": 10_000}
    record = await world.driver.command("checkout", Command.RESUME)
    assert record.phase is Phase.PENDING
    await world.ticks(1)
    assert world.split() == {"v1": 9_500, "v2": 500}
    assert world.store.load().quarantine == {}


async def test_a_revert_is_known_good_and_not_analysed(world: World) -> None:
    await begun(world)
    await world.ticks(30)
    assert world.phase() is Phase.PROMOTED
    await world.driver.accept("c3", mesh())
    assert world.split() == {"v1": 10_000}
    assert world.record().known_good
    assert world.phase() is Phase.PROMOTED


async def test_a_commit_that_alters_a_change_in_flight_starts_it_over(world: World) -> None:
    await begun(world)
    await world.ticks(5)
    assert world.record().stage == 2
    await world.driver.accept("c3", mesh(service(CHECKOUT, "v3")))
    assert world.split() == {"v1": 9_500, "v3": 500}
    assert [record.phase for record in world.driver.records()] == [Phase.SUPERSEDED, Phase.PROGRESSING]


async def test_other_commits_leave_a_change_in_flight_alone(world: World) -> None:
    await begun(world)
    await world.ticks(5)
    moved = service(CHECKOUT, "v2", instances=3)
    await world.driver.accept("c3", mesh(moved, service(PAYMENTS, request_ms=9_000)))
    assert (world.record().stage, world.record().commit) == (2, "c2")
    assert world.phase(PAYMENTS) is Phase.PROGRESSING


async def test_git_going_back_in_flight_takes_the_mesh_back_at_once(world: World) -> None:
    await begun(world)
    await world.driver.accept("c3", mesh())
    assert world.split() == {"v1": 10_000}
    assert world.phase() is Phase.SUPERSEDED
    assert world.driver.status().settled


async def test_endpoints_are_runtime_and_no_release(world: World) -> None:
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", mesh(service(CHECKOUT, instances=3)))
    await world.ticks(1)
    assert world.driver.records() == ()
    assert "default/checkout/v1/127.0.1.12" in world.delivery.live
    assert world.store.load().promoted is not None


async def test_renewed_secrets_reach_every_node_of_their_service(world: World) -> None:
    await world.driver.accept("c1", mesh())
    before = len(world.delivery.barriers)
    world.secrets[WEB] = (Artifact("secret", "svid", b"renewed"),)
    world.driver.runtime_changed()
    await world.ticks(1)
    assert [set(barrier) for barrier in world.delivery.barriers[before:]] == [
        {node for node in world.delivery.live if node.startswith("default/web/")}
    ]


async def test_an_expired_rule_is_gone_with_the_next_tick(world: World) -> None:
    ends = world.clock.now() + timedelta(seconds=30)
    short = replace(rule("for-a-while", WEB), expires=ends)
    await world.driver.accept("c1", mesh(access=(Access(PAYMENTS, (short,)),)))
    node = "default/payments/v1/127.0.2.10"
    assert world.access(node) == ["default/for-a-while"]
    world.clock.advance(30)
    await world.driver.tick()
    assert world.access(node) == []


class Forgetful(WritingCompiler):
    """Has a memo whose key misses what it reads: a node gets for ever what was right for it once."""

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        return memo.get(("view", node.id), lambda: super(Forgetful, self).compile(mesh, node, memo))


async def test_the_self_check_finds_what_a_memory_gives_wrongly_and_has_it_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.driver.accept("c1", mesh())
    await world.ticks(1)
    assert await world.driver.self_check() == ()
    sound = len(world.delivery.barriers)
    await world.ticks(1)
    assert len(world.delivery.barriers) == sound, "nothing is sent where nothing differs"

    monkeypatch.setattr(world.driver._serving._assembly, "_compiler_of", lambda name: Forgetful())
    world.driver._serving._assembly._compilers.clear()
    world.driver._serving.compile_anew()
    world.driver.runtime_changed()
    await world.ticks(1)
    await world.driver.accept("c2", mesh(access=(Access(PAYMENTS, ()),), hold_s=0.0))
    await world.ticks(8)
    node = "default/payments/v1/127.0.2.10"
    assert world.access(node) == ["default/checkout-pays"], "the planted fault: a rule that is gone still allows"
    drifted = await world.driver.self_check()
    assert drifted is not None
    assert f"`{node}`: view `{node}` is not what the mesh says" in drifted
    await world.ticks(1)
    assert world.access(node) == []
    assert await world.driver.self_check() == ()


async def test_there_is_nothing_to_compare_while_something_is_due(world: World) -> None:
    assert await world.driver.self_check() is None
    await world.driver.accept("c1", mesh())
    world.driver.runtime_changed()
    assert await world.driver.self_check() is None


async def _with_an_expired_rule(world: World) -> str:
    """A mesh in which a rule of payments has just ended, and one of its nodes."""
    ends = world.clock.now() + timedelta(seconds=30)
    later = rule("longer", WEB, expires=ends + timedelta(hours=1))
    short = rule("for-a-while", WEB, expires=ends)
    await world.driver.accept("c1", mesh(access=(Access(PAYMENTS, (short, later)),)))
    node = "default/payments/v1/127.0.2.10"
    assert world.access(node) == ["default/for-a-while", "default/longer"]
    world.clock.advance(31)
    await world.driver.tick()
    assert world.access(node) == ["default/longer"]
    return node


async def test_a_clock_that_is_set_back_opens_nothing_again(world: World) -> None:
    node = await _with_an_expired_rule(world)
    world.clock.turn(-60)
    world.driver.runtime_changed()
    await world.ticks(1)
    assert world.access(node) == ["default/longer"]
    world.crash()
    await world.ticks(1)
    assert world.access(node) == ["default/longer"]
    assert world.driver.closing.ended is not None
    assert world.driver.closing.ended > world.clock.now()


async def test_a_floor_that_cannot_be_written_holds_all_the_same_and_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = world.store.set_floor, Stalled("database or disk is full")

    def fail(at: datetime | None) -> None:
        raise full

    monkeypatch.setattr(world.store, "set_floor", fail)
    ends = world.clock.now() + timedelta(seconds=30)
    await world.driver.accept("c1", mesh(access=(Access(PAYMENTS, (rule("for-a-while", WEB, expires=ends),)),)))
    world.clock.advance(31)
    with pytest.raises(Stalled):
        await world.driver.tick()
    world.clock.turn(-60)
    world.driver.runtime_changed()
    with pytest.raises(Stalled):
        await world.driver.tick()
    assert world.access("default/payments/v1/127.0.2.10") == []
    assert world.store.load().floor is None
    monkeypatch.setattr(world.store, "set_floor", write)
    await world.driver.tick()
    assert world.store.load().floor == ends


async def test_a_person_who_accepts_the_clock_undoes_what_a_clock_far_ahead_has_ended(world: World) -> None:
    node = await _with_an_expired_rule(world)
    year = 365 * 86_400.0
    world.clock.turn(year)
    await world.driver.tick()
    assert world.access(node) == []
    world.clock.turn(-year)
    world.driver.runtime_changed()
    await world.ticks(1)
    assert world.access(node) == []
    await world.driver.closing.accept_clock()
    await world.ticks(1)
    assert world.access(node) == ["default/longer"], "what has ended by the clock as it is now stays closed"
    world.crash()
    await world.ticks(1)
    assert world.access(node) == ["default/longer"]


async def test_a_clock_that_jumps_takes_no_release_further(world: World) -> None:
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    await world.ticks(1)
    before = world.record()
    for jump in (86_400.0, -172_800.0):
        world.clock.turn(jump)
        world.load(100)
        await world.driver.tick()
        assert (world.phase(), world.record().stage) == (Phase.PROGRESSING, before.stage)


async def test_a_rule_on_its_way_ends_in_time_though_the_controller_knows_nothing_of_git_yet(world: World) -> None:
    await world.driver.accept("c1", mesh())
    ends = world.clock.now() + timedelta(seconds=3)
    access = (Access(CHECKOUT, (rule("ops", PAYMENTS, expires=ends), rule("web-checks-out", WEB))),)
    await world.driver.accept("c2", mesh(access=access))
    opened = [node for node in world.delivery.live if "default/ops" in world.access(node)]
    assert opened
    world.crash()
    await world.ticks(1)
    assert all("default/ops" in world.access(node) for node in opened)
    await world.ticks(2)
    assert not any("default/ops" in world.access(node) for node in opened)


async def test_a_service_that_nobody_may_call_outlives_a_restart(world: World) -> None:
    await world.driver.accept("c1", mesh())
    await world.driver.accept("c2", mesh(service(DEPOT)))
    assert world.phase(DEPOT) is Phase.PROMOTED
    world.crash()
    await world.ticks(1)
    assert world.driver.status().serving
    assert world.access("default/depot/v1/127.0.4.10") == []


async def test_access_goes_in_waves_and_a_rise_of_denials_takes_it_back(world: World) -> None:
    await world.driver.accept("c1", mesh())
    await world.ticks(2)
    await world.driver.accept("c2", mesh(access=(Access(CHECKOUT, (rule("ops-only", PAYMENTS),)),)))
    release = world.record()
    assert (release.unit, release.phase, release.stage_text) == (
        "access",
        Phase.PROGRESSING,
        "1 instance of each service",
    )
    nodes = [node for node in world.delivery.live if node.startswith("default/checkout/")]
    wave = [node for node in nodes if world.access(node) == ["default/ops-only"]]
    assert len(wave) == 1
    for _ in range(4):
        world.metrics.arrive(wave[0], 20, denied=20)
        await world.ticks(1)
    assert world.phase() is Phase.ABORTED
    assert all(world.access(node) == ["default/web-checks-out"] for node in nodes)


async def test_changes_of_one_service_run_one_after_another(world: World) -> None:
    await world.driver.accept("c1", mesh())
    access = (Access(CHECKOUT, (rule("web-checks-out", WEB), rule("ops", PAYMENTS))),)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2"), access=access))
    first, second = world.driver.records()
    assert (first.phase, second.phase) == (Phase.PROGRESSING, Phase.WAITING)
    assert second.blocked_by == ("service default/checkout",)
    await world.ticks(30)
    assert [record.phase for record in world.driver.records()] == [Phase.PROMOTED, Phase.PROMOTED]


async def test_a_refusal_takes_the_change_back_and_quarantines_it(world: World) -> None:
    await world.driver.accept("c1", mesh())

    def judge(snapshot: NodeSnapshot) -> str:
        (view,) = snapshot.resources["view"].values()
        return "no such thing" if b'"v2": 500' in view.body and "web" in snapshot.node_id else ""

    world.delivery.judge = judge
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    assert world.phase() is Phase.ABORTED
    assert "no such thing" in world.record().quarantine
    assert world.split() == {"v1": 10_000}
    assert world.driver.status().degraded == {}


def refusing(*nodes: str, seeing: bytes = b'"v2"') -> Callable[[NodeSnapshot], str]:
    """These nodes refuse every configuration in which `seeing` stands."""

    def judge(snapshot: NodeSnapshot) -> str:
        (view,) = snapshot.resources["view"].values()
        return "cannot bind" if snapshot.node_id in nodes and seeing in view.body else ""

    return judge


async def test_a_tolerated_refusal_is_shown_and_the_release_goes_on(world: World) -> None:
    await world.driver.accept("c1", mesh(max_refused=1))
    sick = "default/web/v1/127.0.3.10"
    assert sick in world.delivery.live
    world.delivery.judge = refusing(sick)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2"), max_refused=1))
    assert world.phase() is Phase.PROGRESSING
    assert list(world.driver.status().degraded) == [sick]
    assert "cannot bind" in world.driver.status().degraded[sick]
    assert "refused" in world.kinds()
    assert world.splits(sick)[str(CHECKOUT)] == {"v1": 10_000}
    # A crash does not make it more than one.
    world.crash()
    await world.ticks(30)
    assert world.phase() is Phase.PROMOTED
    assert {node for node in world.delivery.live if world.splits(node)[str(CHECKOUT)] != {"v2": 10_000}} == {sick}
    # What it says is no word about the next change either, and it is well once it acknowledges something.
    await world.driver.accept("c3", mesh(service(CHECKOUT, "v2"), service(PAYMENTS, request_ms=9_000)))
    assert world.phase(PAYMENTS) is Phase.PROGRESSING
    world.delivery.judge = refusing()
    await world.ticks(10)
    assert world.phase(PAYMENTS) is Phase.PROMOTED
    assert world.driver.status().degraded == {}
    assert world.split() == {"v2": 10_000}


async def test_the_first_proxy_of_a_version_that_refuses_stops_the_wave(world: World) -> None:
    await world.driver.accept("c1", mesh(max_refused=5))
    sick = "default/web/v1/127.0.3.10"
    world.delivery.versions[sick] = "fake 2.0.0"
    world.delivery.judge = refusing(sick)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2"), max_refused=5))
    assert world.phase() is Phase.ABORTED
    assert world.record().quarantine.endswith("(no fake 2.0.0 has taken it)")
    assert world.split() == {"v1": 10_000}
    assert world.driver.status().degraded == {}


FIRST = "default/payments/v1/127.0.2.10"


async def joins(world: World, node: str, proxy: str) -> None:
    """A proxy that was away comes back as another program, and refuses what it is assigned."""
    world.delivery.away.discard(node)
    world.delivery.versions[node] = proxy
    world.delivery.judge = refusing(node, seeing=b'"default/checkout": 9000')
    await world.delivery.apply({node: world.delivery.assigned[node]}, 1.0)


async def in_waves(world: World, max_refused: int = 0) -> str:
    """checkout's timeout is on its way, at its first wave; the node of its caller that is not there yet."""
    await world.driver.accept("c1", mesh(max_refused=max_refused))
    away = next(node for node in world.delivery.live if node.startswith("default/web/"))
    await world.ticks(11)
    world.delivery.away = {node for node in world.delivery.live if node.startswith("default/web/") and node != away}
    await world.driver.accept("c2", mesh(service(CHECKOUT, request_ms=9_000), max_refused=max_refused))
    assert world.phase() is Phase.PROGRESSING
    world.delivery.away.add(away)
    return away


async def test_a_proxy_of_a_new_version_that_joins_between_two_steps_and_refuses_stops_the_wave(world: World) -> None:
    node = await in_waves(world, max_refused=5)
    await joins(world, node, "fake 2.0.0")
    await world.ticks(1)
    assert world.phase() is Phase.ABORTED
    assert world.record().quarantine.endswith("(no fake 2.0.0 has taken it)")
    assert b"9000" not in world.delivery.live[node].resources["view"][node].body
    assert world.driver.status().degraded == {}


async def test_one_that_joins_and_refuses_though_its_kind_took_it_is_shown_and_stops_nothing(world: World) -> None:
    node = await in_waves(world)
    await joins(world, node, "fake 1.0.0")
    await world.ticks(1)
    assert world.phase() is Phase.PROGRESSING
    assert list(world.driver.status().degraded) == [node]


async def test_a_newcomer_that_the_change_has_not_reached_says_nothing_about_it(world: World) -> None:
    await in_waves(world)
    await joins(world, FIRST, "fake 2.0.0")
    world.delivery.judge = lambda snapshot: "no" if snapshot.node_id == FIRST else ""
    await world.delivery.apply({FIRST: world.delivery.assigned[FIRST]}, 1.0)
    await world.ticks(1)
    assert world.phase() is Phase.PROGRESSING
    assert list(world.driver.status().degraded) == [FIRST]


async def test_settings_that_were_on_their_way_when_the_controller_died_hear_a_refusal_after_it(world: World) -> None:
    await world.driver.accept("c1", mesh())
    before = world.driver.promoted
    assert before is not None
    moved = replace(mesh(), settings=replace(before.settings, leaf_s=60))

    def die(snapshot: NodeSnapshot) -> str:
        raise asyncio.CancelledError

    world.delivery.judge = die
    with pytest.raises(asyncio.CancelledError):
        await world.driver.accept("c2", moved)
    (release,) = world.driver.records()
    assert release.phase is Phase.PROMOTING
    world.crash()
    world.delivery.judge = refusing(FIRST, seeing=b"")
    await world.ticks(2)
    assert "cannot bind" in world.driver.records()[0].quarantine
    assert world.driver.promoted is not None
    assert world.driver.promoted.settings == before.settings


async def test_a_node_that_refuses_even_the_base_keeps_nobody_else_from_it(world: World) -> None:
    await begun(world)
    await world.ticks(1)
    sick = next(node for node in world.delivery.live if node.startswith("default/web/"))
    world.delivery.judge = lambda snapshot: "never again" if snapshot.node_id == sick else ""
    await world.driver.command("checkout", Command.ABORT)
    assert world.phase() is Phase.ABORTED
    away = {node for node in world.delivery.live if world.splits(node)[str(CHECKOUT)] != {"v1": 10_000}}
    assert away == {sick}
    assert list(world.driver.status().degraded) == [sick]
    # It is not sent the same again with every tick, and no tick is dropped for it.
    barriers, events = len(world.delivery.barriers), len(world.driver.events.recent())
    await world.ticks(5)
    assert len(world.delivery.barriers) == barriers
    assert len(world.driver.events.recent()) == events


async def test_what_cannot_be_measured_is_held_and_given_up_without_quarantine(world: World) -> None:
    await begun(world)
    world.metrics.silent.update(world.delivery.live)
    await world.ticks(5)
    assert world.record().verdict == "hold"
    assert "no metrics: no proxy that could tell was read (`default/" in world.record().reason
    await world.ticks(30)
    assert (world.phase(), world.record().quarantine) == (Phase.ABORTED, "")
    world.metrics.silent.clear()
    await world.ticks(5)
    assert world.split() == {"v1": 10_000}
    # The next commit, whatever it is about, gives it another try.
    await world.driver.accept("c3", mesh(service(CHECKOUT, "v2")))
    assert world.split() == {"v1": 9_500, "v2": 500}


async def test_commands_that_make_no_sense_are_refused_with_words(world: World) -> None:
    await begun(world)
    with pytest.raises(UsageError, match="no release is meant by `nothing`"):
        await world.driver.command("nothing", Command.ABORT)
    with pytest.raises(UsageError, match="r1 is progressing: it cannot be resumed"):
        await world.driver.command("r1", Command.RESUME)
    assert (await world.driver.command("r1", Command.PAUSE)).phase is Phase.PAUSED
    await world.ticks(50)
    assert world.record().stage == 1
    assert (await world.driver.command("default/checkout", Command.PROMOTE)).stage == 2


async def test_a_person_may_send_a_release_on_from_its_last_stage(world: World) -> None:
    await begun(world)
    sent = [await world.driver.command("r1", Command.PROMOTE) for _ in range(world.record().stages)]
    assert [record.phase for record in sent[:-1]] == [Phase.PROGRESSING] * (len(sent) - 1)
    assert sent[-1].phase is Phase.PROMOTED


async def test_a_release_that_is_over_is_steered_no_more(world: World) -> None:
    await begun(world)
    await world.ticks(60)
    assert world.phase() is Phase.PROMOTED
    for command in Command:
        with pytest.raises(UsageError, match=r"r1 \(default/checkout v1 -> v2\) is over: it is promoted") as caught:
            await world.driver.command("r1", command)
        assert "a revert in Git" in caught.value.hint


@pytest.mark.parametrize("ticks", [0, 2, 4, 6, 9])
async def test_a_crash_at_any_stage_goes_on_there(world: World, ticks: int) -> None:
    await begun(world)
    await world.ticks(ticks)
    before, split = world.record(), world.split()
    world.crash()
    await world.ticks(1)
    after = world.record()
    assert (after.id, after.stage, after.phase) == (before.id, before.stage, before.phase)
    assert world.split() == split
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2")))
    assert world.split() == split
    await world.ticks(30)
    assert world.phase() is Phase.PROMOTED


async def test_after_a_start_no_step_is_taken_before_the_proxies_are_back(world: World) -> None:
    await world.driver.accept("c1", mesh())
    world.crash()
    world.delivery.away = set(world.delivery.live)
    await world.driver.accept("c2", mesh(service(CHECKOUT, "v2"), service(PAYMENTS, request_ms=9_000)))
    await world.ticks(3)
    assert {record.phase for record in world.driver.records()} == {Phase.PENDING}
    world.delivery.away.clear()
    await world.ticks(1)
    assert world.phase() is Phase.PROGRESSING
    assert world.phase(PAYMENTS) is Phase.PROGRESSING


async def test_a_proxy_that_stays_away_after_a_start_holds_nobody_up_for_long(world: World) -> None:
    await begun(world)
    await world.ticks(2)
    world.crash()
    world.delivery.away = {next(node for node in world.delivery.live if node.startswith("default/web/"))}
    await world.ticks(8)
    assert world.record().stage == 1
    assert world.record().reason == "1 of 18 proxies have not come back yet"
    await world.ticks(30)
    assert world.phase() is Phase.PROMOTED


async def test_a_canary_is_taken_back_though_the_store_cannot_be_written(world: World) -> None:
    await begun(world)
    await world.ticks(1)
    world.bad.add("default/checkout/v2")
    with held(world):
        for _ in range(3):
            with pytest.raises(Retry):
                await world.ticks(1)
        assert world.split() == {"v1": 10_000}
        assert world.phase() is Phase.ABORTED
    await world.ticks(1)
    assert world.store.load().releases[0].phase is Phase.ABORTED
    assert world.store.load().quarantine


async def test_what_git_asks_for_no_more_goes_back_though_the_store_cannot_be_written(world: World) -> None:
    await begun(world)
    with held(world):
        for _ in range(2):
            with pytest.raises(Retry):
                await world.driver.accept("c3", mesh())
        assert world.split() == {"v1": 10_000}
    for _ in range(2):
        await world.driver.accept("c3", mesh())
    await world.ticks(1)
    known = world.store.load()
    assert known.head == "c3"
    assert known.releases[0].phase is Phase.SUPERSEDED
    assert [seen.commit for seen in world.store.commits()].count("c3") == 1


async def test_nothing_goes_forward_while_the_store_cannot_be_written(world: World) -> None:
    await begun(world)
    with held(world):
        for _ in range(10):
            with pytest.raises(Retry):
                await world.ticks(1)
        assert world.record().stage == 1
        assert world.record().verdict == "hold"
    await world.ticks(1)
    assert world.record().stage == 2


async def test_the_loop_runs_until_it_is_stopped_and_shows_what_stalls_it(world: World) -> None:
    stop = asyncio.Event()
    events = world.driver.events.follow()
    running = asyncio.create_task(world.driver.run(stop))
    following = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await world.driver.accept("c1", mesh())
    assert (await following).kind is Kind.SERVED
    stop.set()
    await asyncio.wait_for(running, 5)
    await events.aclose()


async def test_verdicts_are_kept_with_their_evidence(world: World) -> None:
    await begun(world)
    await world.ticks(3)
    verdicts = world.store.verdicts(1)
    assert [one.verdict for one in verdicts] == ["promote", "continue", "continue", "continue"]
    assert verdicts[-1].evidence.canary_requests == world.record().evidence.canary_requests > 0
