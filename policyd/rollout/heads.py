"""What becomes of a head of Git: the first one is served, every later one is reconciled with the releases there are.

    driver -> heads -> book (written first) -> stepper (nodes)

Where the store was lost a head waits: nothing says what it would be compared with, and serving it as it is would
take canaries to their ends. A person who knows what was promoted says so, and the head goes on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from policyd.base.clock import Clock
from policyd.base.errors import UsageError
from policyd.model.mesh import Mesh
from policyd.model.revocation import Revocation
from policyd.plan.changes import changes
from policyd.plan.runtime import refreshed
from policyd.plan.stages import stages
from policyd.rollout.book import Book
from policyd.rollout.doubt import Doubt
from policyd.rollout.reconcile import Reconciled, reconcile
from policyd.rollout.reporter import Reporter
from policyd.rollout.stepper import Stepper
from policyd.rollout.store import SeenCommit, Store
from policyd.rollout.way import way_of


@dataclass(frozen=True, slots=True)
class Head:
    """A commit that passed every check, and its mesh. `seen_at` is monotonic."""

    commit: str
    mesh: Mesh
    author: str
    seen_at: float


class Heads:
    """Takes heads, one at a time.

    `close` is told who is cut off, before anything else happens; `begin` lets releases begin that wait for nothing.
    """

    def __init__(
        self,
        store: Store,
        book: Book,
        stepper: Stepper,
        *,
        doubt: Doubt,
        reporter: Reporter,
        clock: Clock,
        close: Callable[[Iterable[Revocation]], Awaitable[None]],
        begin: Callable[[], Awaitable[None]],
    ) -> None:
        self._book = book
        self._store = store
        self._stepper = stepper
        self._reporter = reporter
        self._doubt = doubt
        self._clock = clock
        self._close = close
        self._begin = begin
        self._seen_at = clock.monotonic()
        self._last: Head | None = None
        self.commit = book.head
        """The last commit that was taken; empty before the first."""
        self.waiting: Head | None = None
        """The newest head, while the store is lost."""

    def since_commit(self) -> float:
        """Seconds since the head was seen."""
        return self._clock.monotonic() - self._seen_at

    async def take(self, head: Head) -> None:
        """Serve it, reconcile it, or keep it until a person has said what is promoted. Raises `Retry`, `Stalled`."""
        if self._doubt.lost:
            self.waiting = head
            self.held_up()
            await self._close(head.mesh.revocations.values())
            return
        self._follow(head)
        await self._close(head.mesh.revocations.values())
        seen = SeenCommit(head.commit, head.author, taken=True, at=self._clock.now())
        if self._book.promoted is None:
            self._store.add_commit(seen)
            await self._serve_first(head)
        else:
            await self._reconcile(head.mesh, refreshed(self._book.promoted, head.mesh), seen)

    async def recover(self, commit: str, promoted: Mesh) -> None:
        """Take the word of a person who says that `promoted`, the mesh of `commit`, is what was promoted last.

        Every proxy is led there, then on to the head by releases as ever. Raises `UsageError` where nothing is lost,
        `Retry` or `Stalled` where it cannot be written.
        """
        if not self._doubt.lost:
            raise UsageError(
                "the store is not lost: it says what is promoted",
                hint="a revert in Git takes back what is promoted",
            )
        self._book.serve_first(promoted)
        self._store.add_commit(SeenCommit(commit, "", taken=True, at=self._clock.now()))
        self._doubt.over()
        head = self.waiting or Head(commit, promoted, "", self._clock.monotonic())
        self.commit, self.waiting = commit, None
        # Instances are where Git says that they are now, whatever was promoted then.
        self._stepper.head = head.mesh
        moved = await self._stepper.move()
        self._stepper.runtime_due = bool(moved.faults)
        self._reporter.recovered(commit, moved)
        if head.commit != commit:
            await self.take(head)

    def held_up(self) -> bool:
        """Whether nothing can be decided, since the store was lost. Where that shows first, it is written down.

        Raises `Retry` or `Stalled` where it cannot be: it is so all the same, and tried again when next asked.
        """
        if self._doubt.refuted():
            self._stepper.stand_still()
            self._book.forget_promoted()
            self.waiting, self.commit = self._last, ""
        if not self._doubt.lost:
            return False
        if not self._book.lost:
            self._book.lose()
            self._reporter.lost()
        return True

    def _follow(self, head: Head) -> None:
        self._stepper.head, self.commit = head.mesh, head.commit
        self._seen_at, self._last = head.seen_at, head
        self._stepper.runtime_due = True

    async def _serve_first(self, head: Head) -> None:
        self._book.serve_first(head.mesh)
        self._doubt.begin_trial()
        moved = await self._stepper.move()
        self._stepper.runtime_due = bool(moved.faults)
        self._reporter.served(head.commit, len(head.mesh.services), moved, self.since_commit())

    async def _reconcile(self, mesh: Mesh, promoted: Mesh, seen: SeenCommit) -> None:
        found = reconcile(tuple(self._book.current.values()), changes(promoted, mesh), seen.commit)
        await self._take_back(found)
        self._store.add_commit(seen)
        self._book.refresh(promoted)
        for release in found.kept:
            self._book.current[release.number] = release
        for change in found.fresh:
            way = way_of(change, stages(change, mesh.releases), mesh.releases)
            self._book.begin(change, way, seen.commit, seen.author, self._clock.now())
        await self._begin()

    async def _take_back(self, found: Reconciled) -> None:
        """What Git asks for no more goes back first: even if nothing can be written."""
        in_flight = any(release.phase.in_flight for release in found.ended)
        self._book.supersede(found.ended, self._clock.now())
        self._reporter.superseded(found.ended)
        if in_flight:
            await self._stepper.move()
