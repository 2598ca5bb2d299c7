"""The controller is killed before and after every write and every assignment of a story, one point after another.

Not a sample: each story is told once to count its points, then once for every point. After a death another driver
begins on the same store, is told the head of Git again as the controller does, and the person repeats what was not
done. It must pass through the same splits and end in the same place as the story that nobody interrupted.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from policyd.delivery.outcome import Applied, Refused
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.mesh import Mesh
from policyd.plan.change import Unit
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase
from policyd.rollout.store import Store
from policyd.testing.delivery import FakeDelivery
from tests.rollout.world import CHECKOUT, PAYMENTS, World, mesh, service

HOLD_S = 1.0
LONGEST = 40
"""Ticks in which a story must get on."""


class Killed(BaseException):
    """The process ends here: nothing of the driver may catch it."""


@dataclass(slots=True)
class Points:
    """The places where a process can die, numbered as they are passed."""

    deadly: int = -1
    passed: int = 0
    where: list[str] = field(default_factory=list)

    def pass_by(self, where: str) -> None:
        """Go on, or die."""
        self.where.append(where)
        number, self.passed = self.passed, self.passed + 1
        if number == self.deadly:
            raise Killed(where)


class MortalStore(Store):
    """The real store, with a point before and one after every transaction."""

    points: Points

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.points.pass_by("before a write")
        with super()._transaction():
            yield
        self.points.pass_by("after a write")


class MortalDelivery(FakeDelivery):
    """The fake delivery, with a point before and one after every assignment."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    async def apply(self, assignment: Mapping[str, NodeSnapshot], deadline_s: float) -> Applied | Refused:
        self._points.pass_by("before an assignment")
        outcome = await super().apply(assignment, deadline_s)
        self._points.pass_by("after an assignment")
        return outcome


class Teller:
    """Tells one story to one world, and goes on where it was when the world's controller dies."""

    def __init__(self, folder: Path, points: Points) -> None:
        def open_store(path: Path) -> Store:
            store = MortalStore.__new__(MortalStore)
            store.points = points
            store.__init__(path)  # type: ignore[misc]
            return store

        folder.mkdir()
        self.world = World(folder, open_store, MortalDelivery(points))
        self.heads: list[Mesh] = []
        self.splits: list[dict[str, int]] = []
        self.deaths = 0

    async def commit(self, head: Mesh) -> None:
        """Git moves, and the controller sees it sooner or later."""
        self.heads.append(head)
        await self._alive(self._accept)

    async def until(self, done: Callable[[World], bool]) -> None:
        """Time passes until something is so."""
        for _ in range(LONGEST):
            if done(self.world):
                return
            await self._alive(lambda: self.world.ticks(1))
        records = [(one.id, one.name, one.phase, one.stage, one.reason) for one in self.world.driver.records()]
        pytest.fail(f"the story does not get on: {records}")

    async def ask(self, command: Command, done: Callable[[World], bool]) -> None:
        """A person asks, looks, and asks again if it was not done."""
        while not done(self.world):
            await self._alive(lambda: self._command(command))
        self._look()

    async def _command(self, command: Command) -> None:
        await self.world.driver.command(str(CHECKOUT), command)

    async def _accept(self) -> None:
        await self.world.driver.accept(f"c{len(self.heads)}", self.heads[-1])

    async def _alive(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except Killed:
            self.deaths += 1
            before = self.world.store.load()
            self.world.crash()
            assert self.world.store.load() == before
            # The controller begins with the head that it finds in Git, and ticks before anything else happens.
            await self._accept()
            await self.world.driver.tick()
        self._look()

    def _look(self) -> None:
        if not self.world.delivery.live:
            return
        views = [self.world.splits(node)[str(CHECKOUT)] for node in self.world.delivery.live]
        # A death in the middle of an assignment leaves nodes apart; only what all agree on counts as passed.
        if all(view == views[0] for view in views) and self.splits[-1:] != [views[0]]:
            self.splits.append(views[0])

    def ending(self) -> object:
        """What a story comes down to."""
        driver = self.world.driver
        assert driver.promoted is not None
        return (
            {name: one.serving for name, one in driver.promoted.services.items()},
            {name: one.resilience.timeouts.request_ms for name, one in driver.promoted.services.items()},
            self.splits,
            {node: snapshot.digest for node, snapshot in self.world.delivery.live.items()},
            [unit for unit in Unit if not driver.status().settled],
        )


def is_in(phase: Phase, name: object = CHECKOUT) -> Callable[[World], bool]:
    """Whether the newest release of a name is in a phase."""
    return lambda world: (
        any(one.name == str(name) for one in world.driver.records())
        and (next(one for one in reversed(world.driver.records()) if one.name == str(name)).phase is phase)
    )


def at_stage(stage: int) -> Callable[[World], bool]:
    """Whether the newest release of checkout is on its way, at a stage or beyond."""
    return lambda world: is_in(Phase.PROGRESSING)(world) and world.record().stage >= stage


def head(version: str, request_ms: int = 15_000) -> Mesh:
    """A mesh that asks for a version of checkout and a timeout of payments."""
    return mesh(service(CHECKOUT, version), service(PAYMENTS, request_ms=request_ms), hold_s=HOLD_S)


async def a_good_canary(told: Teller) -> None:
    await told.commit(head("v1"))
    await told.commit(head("v2"))
    await told.until(is_in(Phase.PROMOTED))


async def a_bad_canary(told: Teller) -> None:
    told.world.bad.add("default/checkout/v2")
    await told.commit(head("v1"))
    await told.commit(head("v2"))
    await told.until(is_in(Phase.ABORTED))


async def a_change_in_waves(told: Teller) -> None:
    await told.commit(head("v1"))
    await told.commit(head("v1", request_ms=9_000))
    await told.until(is_in(Phase.PROMOTED, PAYMENTS))


async def a_change_that_is_altered_in_flight(told: Teller) -> None:
    await told.commit(head("v1"))
    await told.commit(head("v2"))
    await told.until(at_stage(1))
    await told.commit(head("v3"))
    await told.until(is_in(Phase.PROMOTED))


async def a_revert_in_flight(told: Teller) -> None:
    await told.commit(head("v1"))
    await told.commit(head("v2"))
    await told.until(at_stage(1))
    await told.commit(head("v1"))
    await told.until(is_in(Phase.SUPERSEDED))


async def a_person_who_aborts_and_tries_again(told: Teller) -> None:
    await told.commit(head("v1"))
    await told.commit(head("v2"))
    await told.until(at_stage(1))
    await told.ask(Command.ABORT, is_in(Phase.ABORTED))
    await told.ask(Command.RESUME, lambda world: not is_in(Phase.ABORTED)(world))
    await told.until(is_in(Phase.PROMOTED))


async def proxies_that_refuse(told: Teller) -> None:
    def judge(snapshot: NodeSnapshot) -> str:
        (view,) = snapshot.resources["view"].values()
        return "no" if b'"v2"' in view.body else ""

    await told.commit(head("v1"))
    told.world.delivery.judge = judge
    await told.commit(head("v2"))
    await told.until(is_in(Phase.ABORTED))


Story = Callable[[Teller], Awaitable[None]]
STORIES: Sequence[Story] = (
    a_good_canary,
    a_bad_canary,
    a_change_in_waves,
    a_change_that_is_altered_in_flight,
    a_revert_in_flight,
    a_person_who_aborts_and_tries_again,
    proxies_that_refuse,
)


async def _told(story: Story, folder: Path, points: Points) -> Teller:
    told = Teller(folder, points)
    try:
        await story(told)
        await told.world.ticks(1)
    finally:
        told.world.store.close()
    return told


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_every_point_of_a_story_may_be_the_last(story: Story, tmp_path: Path) -> None:
    counted = Points()
    told = await _told(story, tmp_path / "whole", counted)
    told.world.store = Store(told.world.path)
    whole, quarantine = told.ending(), told.world.store.load().quarantine
    told.world.store.close()
    assert told.deaths == 0
    assert {"before a write", "after a write", "before an assignment", "after an assignment"} <= set(counted.where)
    for number in itertools.count():
        points = Points(deadly=number)
        told = await _told(story, tmp_path / str(number), points)
        if not told.deaths:
            assert number >= counted.passed
            break
        told.world.store = Store(told.world.path)
        assert told.ending() == whole, f"killed at point {number}, {points.where[number]}"
        assert told.world.store.load().quarantine == quarantine, f"killed at point {number}, {points.where[number]}"
        told.world.store.close()
