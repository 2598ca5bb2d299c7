"""Drives releases: says what is looked at, when each release gets its turn, and takes what comes from outside.

One tick: read telemetry -> apply what is runtime -> for each release: observe, then a step (`stepper`: decide, write,
move). A new head, a command and a tick exclude each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError
from policyd.base.stopwatch import Stopwatch, untimed
from policyd.delivery.outcome import Refusal
from policyd.model.mesh import Mesh
from policyd.plan.change import WaveStage
from policyd.plan.effective import Effective
from policyd.rollout.assembly import Assembly
from policyd.rollout.attendance import Attendance
from policyd.rollout.book import Book
from policyd.rollout.closing import Closing
from policyd.rollout.commands import check
from policyd.rollout.doubt import Doubt
from policyd.rollout.event import EventLog
from policyd.rollout.heads import Head, Heads
from policyd.rollout.lineup import blocked
from policyd.rollout.machine import Command, Observation
from policyd.rollout.ports import Delivery, Trust
from policyd.rollout.readings import Readings
from policyd.rollout.record import Phase, ReleaseRecord
from policyd.rollout.release import Release, record_of, title_of
from policyd.rollout.reporter import Reporter
from policyd.rollout.serving import DEADLINE_S, Moved, Serving
from policyd.rollout.status import Status
from policyd.rollout.stepper import Stepper
from policyd.rollout.store import SeenCommit, Store
from policyd.rollout.watching import Watch, watch
from policyd.telemetry.counters import Tick
from policyd.telemetry.source import MetricSource

TICK_S = 1.0
"""How often counters are read and releases decided."""


class Driver:
    """Owns the releases of one mesh. `events` is what happened; `records` and `status` are pictures of now.

    Raises what the store raises (`Stalled`, `Retry`) when it is built on one that cannot be read.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        assembly: Assembly,
        delivery: Delivery,
        metrics: MetricSource,
        trust: Trust,
        tick_s: float = TICK_S,
        deadline_s: float = DEADLINE_S,
        keys: Callable[[], Mapping[str, str]] = dict,
        stopwatch: Stopwatch = untimed,
    ) -> None:
        self._reporter = Reporter(clock)
        self._store = store
        self._clock = clock
        self._tick_s = tick_s
        self._book = Book(store)
        self._serving = Serving(assembly, delivery, deadline_s, stopwatch=stopwatch)
        self._doubt = Doubt(self._book, delivery, clock)
        self._readings = Readings(metrics, clock, tick_s)
        self.observed = self._readings.observed
        self.edges = self._readings.edges
        self.edge_totals = self._readings.totals
        fresh = self._book.promoted is None and not self._doubt.lost
        self._attendance = Attendance(delivery, clock, self._serving.nodes, fresh=fresh)
        self._stalled = ""
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stepper = Stepper(
            self._book,
            self._serving,
            self._attendance,
            self._reporter,
            clock,
            since_commit=self._since_commit,
            keys=keys,
            distrusted=lambda: trust.dropped,
            wake=self._wake.set,
        )
        closes = (self._book, self._stepper, self._reporter, assembly, trust)
        self.closing = Closing(*closes, clock=clock, lock=self._lock, wake=self._wake.set)
        """What is closed at once and stays closed, whatever is released."""
        self._heads = Heads(
            store,
            self._book,
            self._stepper,
            doubt=self._doubt,
            reporter=self._reporter,
            clock=clock,
            close=self.closing.follow,
            begin=self._begin,
        )

    # What others call.

    @property
    def events(self) -> EventLog:
        """What happened, and a live feed of it."""
        return self._reporter.events

    async def accept(self, commit: str, mesh: Mesh, author: str = "", *, seen_s: float = 0.0) -> None:
        """Take a new head that passed every check and was seen `seen_s` seconds ago.

        While the store is lost it is kept until a person has said what is promoted. Raises `Retry` or `Stalled`
        where it cannot be written.
        """
        head = Head(commit, mesh, author, self._clock.monotonic() - seen_s)
        async with self._lock:
            await self._heads.take(head)
        self._wake.set()

    @property
    def lost(self) -> bool:
        """Whether the store was lost: proxies keep what they run, until a person says what was promoted."""
        return self._doubt.lost

    async def recover(self, commit: str, promoted: Mesh) -> None:
        """A person says that `promoted`, the mesh of `commit`, is what was promoted before the store was lost.

        Proxies are led there, and from there to the head by releases. Raises `UsageError` where nothing is lost,
        `Retry` or `Stalled` where it cannot be written.
        """
        async with self._lock:
            await self._heads.recover(commit, promoted)
        self._wake.set()

    def refuse(self, commit: str, author: str, findings: tuple[str, ...]) -> None:
        """Remember a head that did not pass its checks; what is live stays."""
        self._store.add_commit(SeenCommit(commit, author, taken=False, at=self._clock.now(), findings=findings))

    async def command(self, ref: str, command: Command) -> ReleaseRecord:
        """Do what a person asks of a release (`r7` or its name). Raises `UsageError` where it makes no sense."""
        async with self._lock:
            release = self._book.find(ref)
            if release.phase is Phase.ABORTED and command is Command.RESUME:
                return record_of(self._try_again(release))
            check(release, command)
            self._reporter.commanded(release, command)
            await self._stepper.advance(release, Observation(command=command))
            return record_of(self._book.release(release.number))

    def runtime_changed(self) -> None:
        """Secrets were renewed: let nodes have them with the next tick, which begins at once."""
        self._stepper.runtime_due = True
        self._wake.set()

    async def deliver_secrets(self) -> None:
        """Secrets were exchanged: let nodes have them now, and wait until they have said what they think of them."""
        async with self._lock:
            if self._book.promoted is not None:
                moved = await self._stepper.move()
                self._stepper.runtime_due = bool(moved.faults)
                self._reporter.runtime(moved, self._heads.since_commit(), resumed=False)

    async def self_check(self) -> tuple[str, ...] | None:
        """Compile what nodes run once more from nothing; what differs is sent anew with the next tick, which begins.

        `None` where something is on its way to nodes, so that there is nothing to compare with.
        """
        async with self._lock:
            served = None if self._stepper.runtime_due else self._serving.served()
        if served is None:
            return None
        drifted = await self._serving.drift(served)
        if drifted:
            async with self._lock:
                self._serving.compile_anew()
            self.runtime_changed()
        return drifted

    def records(self) -> tuple[ReleaseRecord, ...]:
        """Every current release and the newest of those that are over, by number."""
        known = {release.number: release for release in (*self._book.history, *self._book.current.values())}
        return tuple(record_of(known[number]) for number in sorted(known))

    def status(self) -> Status:
        """A picture of this instant."""
        current = self._book.current.values()
        nodes = self._serving.nodes()
        return Status(
            head=self._heads.commit,
            serving=self._serving.effective is not None,
            settled=not current,
            nodes=len(nodes),
            connected=self._attendance.connected(),
            degraded=dict(self._serving.degraded),
            diverged=tuple(
                f"{title_of(release.change)}: {release.state.quarantine or release.decision.reason}"
                for release in current
                if release.phase is Phase.ABORTED
            ),
            stalled=self._stalled,
            rates=self._readings.rates.table(),
        )

    def serving(self) -> Effective | None:
        """What nodes run now; `None` before anything does."""
        return self._serving.effective

    @property
    def head(self) -> str:
        """The commit that the mesh follows: the newest one that was taken."""
        return self._heads.commit

    @property
    def promoted(self) -> Mesh | None:
        """The promoted mesh: what decisions are answered for."""
        return self._book.promoted

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until `stop` is set; at once after a new head or a renewal, else every `tick_s`."""
        async with asyncio.TaskGroup() as group:
            rates = group.create_task(self._readings.keep_rates(self._serving.nodes), name="rates")
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self.tick()
                except PolicydError as error:
                    self._stalled = str(error)
                    self._reporter.stalled(error)
                await self._rest(stop)
            rates.cancel()

    async def tick(self) -> None:
        """One round. Raises `Retry` or `Stalled` where the store cannot be written; what goes back does so."""
        async with self._lock:
            if self._heads.held_up() or self._book.promoted is None:
                return
        before = frozenset(self._stepper.unsettled)
        tick = await self._readings.tick(self._watched())
        async with self._lock:
            # What moved while the counters were read is in this tick in part, and in the next.
            unsettled = self._stepper.unsettled
            self._stepper.unsettled = set(unsettled - before)
            await self._apply_runtime()
            await self._decide_all(self._observations(tick, unsettled))
            self._book.write_what_is_left(self._clock.now())
            await self._begin()
            self._stalled = ""

    def _try_again(self, release: Release) -> Release:
        fresh = self._book.try_again(release, self._heads.commit, self._clock.now())
        self._reporter.commanded(fresh, Command.RESUME)
        self._wake.set()
        return fresh

    # One tick.

    def _watched(self) -> tuple[str, ...]:
        """The nodes whose counters the releases under way are decided by."""
        found: set[str] = set()
        for release in self._book.current.values():
            who = self._watch(release) if release.phase.in_flight else None
            if who is not None and who.looks_everywhere(release.way):
                return self._serving.nodes()
            found |= who.nodes if who is not None else frozenset()
        return tuple(sorted(found))

    async def _apply_runtime(self) -> None:
        """Endpoints, secrets and expired rules reach every node at once, without a release."""
        said = self._serving.unheard()
        if not (self._stepper.runtime_due or self._stepper.expired or self._members_changed()):
            await self._hear_newcomers(said)
            return
        first = self._serving.effective is None
        moved = await self._stepper.move()
        self._stepper.runtime_due = bool(moved.faults)
        if moved.changed:
            # Memberships may have changed for anyone: nobody's next tick counts.
            self._stepper.unsettled |= self._book.current.keys()
            self._reporter.runtime(moved, self._heads.since_commit(), resumed=first)
        if first:
            await self._hear_again(moved)
        else:
            await self._hear_newcomers((*said, *moved.refused))

    async def _hear_again(self, moved: Moved) -> None:
        """What proxies say to the first move after a start is said to the changes that were on their way.

        The controller may have died between a step and its answers. Which of several changes a proxy means cannot
        be told then, and going back is safe for each.
        """
        for release in self._book.begun():
            await self._stepper.hear(release, moved)

    async def _hear_newcomers(self, said: Sequence[Refusal]) -> None:
        """What proxies refuse that came between two steps is said to the changes that had reached their nodes.

        Only where none of their kind has taken the change: all that come after them would refuse it. One whose kind
        has taken it has a problem of its own, and is shown.
        """
        for release in self._book.begun() if said else ():
            who = self._watch(release)
            mine = tuple(
                refusal
                for refusal in said
                if who is not None and refusal.node_id in who.reached and refusal.proxy not in release.state.proven
            )
            if mine:
                await self._stepper.hear(release, Moved(refused=mine))

    def _members_changed(self) -> bool:
        """Whether a wave is under way and its shares would be taken of other nodes now."""
        waves = any(
            isinstance(release.way.stages[release.state.stage], WaveStage)
            for release in self._book.current.values()
            if release.phase.in_flight and release.state.stage >= 0
        )
        return waves and self._attendance.changed()

    def _observations(self, tick: Tick | None, unsettled: set[int]) -> dict[int, Observation]:
        """What this tick brought each release that is on its way, forward or back."""
        away = self._attendance.still_away()
        seen: dict[int, Observation] = {}
        for number, release in self._book.current.items():
            if release.phase.in_flight:
                seen[number] = replace(
                    self._observe(release, tick),
                    elapsed_s=self._stepper.elapsed(number),
                    settled=number not in unsettled,
                    frozen=away,
                )
        return seen

    def _observe(self, release: Release, tick: Tick | None) -> Observation:
        who = self._watch(release)
        if who is None:
            return Observation()
        audience = len(who.measuring)
        self._book.hold(replace(release, audience=audience))
        return Observation(
            strata=who.strata(tick),
            silent=who.silent(tick),
            gates=who.gates(tick, release.way),
            audience=audience,
        )

    def _watch(self, release: Release) -> Watch | None:
        """Whom to look at for a release; `None` where it has reached nobody yet."""
        position, served = release.position(), self._serving.effective
        if position is None or position.stage is None or served is None:
            return None
        in_flight = [other.change for other in self._book.current.values() if other.phase.in_flight]
        return watch(release.change, position.stage, served.common, in_flight, self._attendance.counted)

    async def _decide_all(self, observations: Mapping[int, Observation]) -> None:
        """Every release gets its turn, even if the store fails for one: one of them may have to go back."""
        failed: PolicydError | None = None
        for number, seen in observations.items():
            try:
                await self._stepper.advance(self._known(number), seen)
            except PolicydError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    async def _begin(self) -> None:
        """Let every release begin that waits for nothing any more."""
        if self._attendance.still_away():
            return
        for number, waits_for in blocked(tuple(self._book.current.values())).items():
            release = replace(self._known(number), blocked_by=waits_for)
            if waits_for and release.phase is Phase.WAITING and waits_for == self._known(number).blocked_by:
                continue
            await self._stepper.advance(release, Observation(blocked_by=waits_for, known_good=release.known_good))

    def _known(self, number: int) -> Release:
        return self._book.current[number]

    def _since_commit(self) -> float:
        return self._heads.since_commit()

    async def _rest(self, stop: asyncio.Event) -> None:
        """Until the next tick is due: time, a new head, a renewal, or the end."""
        waits = [
            asyncio.ensure_future(self._clock.sleep(self._tick_s)),
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(stop.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in waits:
                waiting.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
