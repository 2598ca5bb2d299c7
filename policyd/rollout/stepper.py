"""Takes the steps of releases: what `machine` decided is written, then acted on, and what proxies answer is heard.

    driver -> stepper -> book (written first) -> serving (nodes, barrier by barrier) -> machine (what they said)

`driver` says when and with what observation; here is what a decision does. Nothing here waits for time or reads
counters, and nothing is remembered about nodes: what they run is derived from the promoted mesh and the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError
from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.plan.change import Position
from policyd.plan.changes import advance
from policyd.plan.effective import effective
from policyd.plan.floor import Floor, last_expiry, next_expiry
from policyd.rollout.attendance import Attendance
from policyd.rollout.book import Book
from policyd.rollout.machine import Observation, Verdict, decide, finished, heard, objection
from policyd.rollout.record import Phase
from policyd.rollout.release import Release
from policyd.rollout.reporter import Reporter
from policyd.rollout.serving import Moved, Serving, Tolerates, reaches_the_others


class Stepper:
    """Moves one release at a time. `since_commit` is the age of the head in seconds, `wake` begins the next tick.

    `keys` are those of token issuers, by URL, as they were fetched last; `distrusted` the roots that proxies were
    given and trust no more.
    """

    def __init__(
        self,
        book: Book,
        serving: Serving,
        attendance: Attendance,
        reporter: Reporter,
        clock: Clock,
        *,
        since_commit: Callable[[], float],
        keys: Callable[[], Mapping[str, str]],
        distrusted: Callable[[], tuple[str, ...]],
        wake: Callable[[], None],
    ) -> None:
        self._book = book
        self._serving = serving
        self._attendance = attendance
        self._reporter = reporter
        self._clock = clock
        self._since_commit = since_commit
        self._keys = keys
        self._distrusted = distrusted
        self._wake = wake
        self._clocked: dict[int, float] = {}
        self._expiry: datetime | None = None
        self.head: Mesh | None = None
        """What Git asks for now: where its instances are holds at once."""
        self.unsettled: set[int] = set()
        """Releases that have moved since the counters were last read in peace."""
        self.runtime_due = True
        """Whether some node does not run what it should, for a reason that is no release."""

    @property
    def expired(self) -> bool:
        """Whether a rule has expired since nodes were last moved."""
        return self._expiry is not None and self._clock.now() >= self._expiry

    def stand_still(self) -> None:
        """It is not known what nodes should run."""
        self.head, self._expiry = None, None
        self.unsettled.clear()
        self._clocked.clear()
        self._serving.stand_still()

    def elapsed(self, number: int) -> float:
        """Seconds since this was last asked of a release, or since it moved."""
        now = self._clock.monotonic()
        elapsed = now - self._clocked.get(number, now)
        self._clocked[number] = now
        return elapsed

    async def advance(self, release: Release, seen: Observation) -> None:
        """Decide, write, act. Raises where a step forward cannot be written; it is not taken then."""
        state, decision = decide(release.state, seen, release.way)
        after = release.moved(state, decision, self._clock.now())
        if after.phase is Phase.ABORTING:
            self._reporter.step(release, after)
            await self._go_back(after)
            return
        try:
            self._book.write(after, self._clock.now())
        except PolicydError as error:
            # What was seen counts all the same: the abort gate must not go blind with the store.
            state, decision = decide(release.state, replace(seen, frozen=str(error)), release.way)
            self._book.hold(release.moved(state, decision, self._clock.now()))
            raise
        self._reporter.step(release, after)
        if after.phase is Phase.PROMOTING or decision.verdict is Verdict.PROMOTE:
            await self._go_forward(after)

    async def hear(self, release: Release, moved: Moved) -> None:
        """Tell a release what proxies said to a move that was no step of its own; it may have to go back."""
        if self._objection(release, moved):
            self._reporter.refused(release, moved)
            await self.advance(release, _answered(moved))

    async def move(
        self, tolerates: Tolerates = reaches_the_others, distrusted: tuple[str, ...] | None = None
    ) -> Moved:
        """Let nodes run what the promoted mesh and the positions come to now.

        `distrusted`: the roots whose connections are ended, where that is not all that proxies trust no more.
        """
        promoted = self._book.promoted
        assert promoted is not None
        positions: list[Position] = []
        for release in self._book.current.values():
            position = release.position() if release.phase.in_flight else None
            if position is not None and release.phase is Phase.PROMOTING:
                promoted = advance(promoted, release.change)
            elif position is not None:
                positions.append(position)
        runtime = self.head if self.head is not None else promoted
        at = self._instant((promoted, runtime), positions)
        ended = self._distrusted() if distrusted is None else distrusted
        floor = Floor(at, self._book.cuts.revocations, ended)
        wanted = effective(promoted, positions, runtime, floor, self._attendance.count(), keys=self._keys())
        # Of what nodes run: a change on its way may have rules that neither the promoted mesh nor Git has.
        served = {id(mesh): mesh for mesh in (wanted.common, *wanted.others.values())}
        expiries = (next_expiry(mesh, at) for mesh in served.values())
        self._expiry = min((instant for instant in expiries if instant is not None), default=None)
        return await self._serving.move(wanted, tolerates)

    def _instant(self, meshes: Iterable[Mesh], positions: Iterable[Position]) -> datetime:
        """The instant that decides which rules have expired: now, and never before one that has decided already."""
        now = self._clock.now()
        ended = [last_expiry(mesh, now) for mesh in meshes]
        for position in positions:
            target = position.change.target
            if isinstance(target, Access):
                ended += [rule.expires for rule in target.rules if not rule.in_force(now)]
        return self._book.at(now, max((instant for instant in ended if instant is not None), default=None))

    async def _go_forward(self, release: Release) -> None:
        moved = await self.move(lambda so_far: not self._objection(release, so_far))
        self.unsettled.add(release.number)
        self._clocked[release.number] = self._clock.monotonic()
        self._reporter.refused(release, moved)
        if self._objection(release, moved):
            await self.advance(release, _answered(moved))
            self._wake()
            return
        release = replace(release, state=heard(release.state, _answered(moved)))
        self._book.hold(release)
        if release.phase is Phase.PROMOTING:
            promoted = release.moved(finished(release.state), release.decision, self._clock.now())
            self._book.promote(promoted)
            self._clocked.pop(release.number, None)
            self._reporter.promoted(promoted, self._since_commit())
        else:
            self._reporter.stage(release, self._since_commit())
        self._wake()

    async def _go_back(self, release: Release) -> None:
        """Written if it can be, done in any case. Nodes that refuse even the base are shown as degraded."""
        self._book.write_back(release, self._clock.now())
        moved = await self.move()
        self.runtime_due = self.runtime_due or bool(moved.faults)
        aborted = release.moved(finished(release.state), release.decision, self._clock.now())
        self._book.write_back(aborted, self._clock.now())
        self._clocked.pop(release.number, None)
        self._reporter.aborted(aborted)

    def _objection(self, release: Release, moved: Moved) -> str:
        seen = _answered(moved)
        return objection(heard(release.state, seen), seen, release.way)


def _answered(moved: Moved) -> Observation:
    """A move as the machine is told of it."""
    return Observation(refused=moved.refused, proven=moved.proven, faults=moved.faults)
