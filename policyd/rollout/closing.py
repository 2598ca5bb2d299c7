"""What is closed at once and stays closed: the floor, as Git, people and the clock move it.

    head of Git, `policyd revoke`, rules that end -> closing -> every proxy, before anything else happens

The floor is exempt from waves, gates and rollback. Only a person takes it back: `lift` and `accept_clock`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from policyd.base.clock import Clock
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.node import service_of
from policyd.model.revocation import Revocation
from policyd.plan.floor import NOTHING_ENDED, Floor, subtracted
from policyd.rollout.assembly import Assembly
from policyd.rollout.book import Book
from policyd.rollout.ports import Trust
from policyd.rollout.reporter import Reporter
from policyd.rollout.serving import Moved
from policyd.rollout.stepper import Stepper
from policyd.rollout.store import Cut


class Closing:
    """The floor of one mesh. `lock` is the driver's: a new head, a command and a tick exclude each other."""

    def __init__(
        self,
        book: Book,
        stepper: Stepper,
        reporter: Reporter,
        assembly: Assembly,
        trust: Trust,
        *,
        clock: Clock,
        lock: asyncio.Lock,
        wake: Callable[[], None],
    ) -> None:
        self._book = book
        self._stepper = stepper
        self._reporter = reporter
        self._assembly = assembly
        self._trust = trust
        self._clock = clock
        self._lock = lock
        self._wake = wake
        self._judged: tuple[Mesh, tuple[Revocation, ...], Mesh] | None = None
        trust.distrust(self._roots())

    @property
    def ended(self) -> datetime | None:
        """The last instant at which a rule was taken as expired; none is taken back before it."""
        return self._book.floor

    @property
    def cuts(self) -> tuple[tuple[Cut, bool], ...]:
        """Who is cut off, and whether the head of Git still says so."""
        return tuple((cut, self._book.cuts.asked_for(cut)) for cut in self._book.cuts.all())

    @property
    def judged(self) -> Mesh | None:
        """The promoted mesh without who is cut off: what decisions are made for, minus what has ended by then."""
        promoted, cuts = self._book.promoted, self._book.cuts.revocations
        if promoted is None or not cuts:
            return promoted
        if self._judged is None or self._judged[0] is not promoted or self._judged[1] != cuts:
            self._judged = (promoted, cuts, subtracted(promoted, Floor(NOTHING_ENDED, cuts)))
        return self._judged[2]

    def narrowed(self, snapshot: NodeSnapshot) -> NodeSnapshot:
        """What a proxy acknowledged before, without who is cut off now: it may go back to nothing else."""
        mesh, service = self._book.promoted, service_of(snapshot.node_id)
        if mesh is None or service is None:
            return snapshot
        cuts, own = self._book.cuts.revocations, spiffe_id(mesh.settings.trust_domain, service)
        revoked = {cut.cuts(service) for cut in cuts} - {""}
        mine = [cut for cut in cuts if cut.identity == own]
        outside = [name for name, each in mesh.services.items() if each.external is not None] if mine else []
        barred = [name for name in outside if any(cut.cuts(name) for cut in mine)]
        compiler = mesh.settings.data_planes[0].compiler
        return self._assembly.narrowed(snapshot, compiler, sorted(revoked), self._trust.dropped, barred)

    async def follow(self, asked: Iterable[Revocation]) -> None:
        """Take what a new head asks for. Only under the lock, and before anything else is done about that head."""
        await self._close(self._book.cuts.follow(asked, self._clock.now()))

    async def revoke(self, revocation: Revocation) -> None:
        """Cut off at once, as a person asks; every proxy that is there has answered when this returns."""
        async with self._lock:
            await self._close(self._book.cuts.take((revocation,), self._clock.now()))

    async def lift(self, name: Name) -> tuple[Revocation, ...]:
        """End a revocation that Git no longer asks for. Raises `UsageError`, or what the store raises."""
        async with self._lock:
            lifted = self._book.cuts.lift(name)
            self._trust.readmit({cut.root for cut in lifted} - self._roots())
            self._reporter.lifted(lifted)
            self._stepper.runtime_due = True
        self._wake()
        return lifted

    async def accept_clock(self) -> None:
        """A person says that the clock is right now and was ahead before: rules end by it alone.

        Raises `Retry` or `Stalled` where that cannot be written.
        """
        async with self._lock:
            self._book.accept_clock(self._clock.now())
            self._stepper.runtime_due = True
        self._wake()

    async def _close(self, fresh: Sequence[Revocation]) -> None:
        if not fresh:
            return
        before, moved = self._trust.dropped, Moved()
        exchanged = self._trust.distrust(self._roots())
        if self._book.promoted is not None:
            if exchanged:
                # What is open ends only when all trust the same again: nobody opens in vain, or under the root again.
                moved = await self._stepper.move(distrusted=before)
            moved = moved.then(await self._stepper.move())
        self._stepper.runtime_due = self._stepper.runtime_due or bool(moved.faults)
        self._reporter.revoked(fresh, moved)

    def _roots(self) -> frozenset[str]:
        return frozenset(cut.root for cut in self._book.cuts.revocations if cut.root)
