"""The releases there are and the promoted mesh: in memory, and in the store before anything is done about them.

Forward steps need the store and raise where it cannot be written. Backward steps are taken anyway: what could not
be written is kept and written as soon as the store allows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

import structlog

from policyd.base.errors import PolicydError, UsageError
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.plan.change import Change, Unit, Value
from policyd.plan.changes import advance
from policyd.rollout.content import content_id
from policyd.rollout.cuts import Cuts
from policyd.rollout.machine import State
from policyd.rollout.record import Phase
from policyd.rollout.release import Release, evidence_of, title_of
from policyd.rollout.store import Store
from policyd.rollout.way import Way

SHOWN = 100
"""How many releases that are over are shown beside the current ones."""

_LOG = structlog.get_logger("rollout")


class Book:
    """What the driver knows. Reads the whole store once; raises what `Store.load` raises."""

    def __init__(self, store: Store) -> None:
        known = store.load()
        self._store = store
        self._last = known.last_number
        self._unsaved: dict[int, Release] = {}
        self.promoted: Mesh | None = known.promoted
        self.head = known.head
        self.floor = known.floor
        self.lost = known.lost
        self._floor_unsaved = False
        self.cuts = Cuts(store, known.cuts)
        self.quarantine: dict[str, str] = dict(known.quarantine)
        # An aborted release stays current until Git moves on: it is why the mesh differs from Git.
        self.current: dict[int, Release] = {
            release.number: release
            for release in known.releases
            if not release.phase.over or (release.phase is Phase.ABORTED and not release.replaced)
        }
        self.history: deque[Release] = deque(
            (release for release in known.releases if release.number not in self.current), maxlen=SHOWN
        )

    def begin(self, change: Change, way: Way, commit: str, author: str, at: datetime) -> Release:
        """A new release of `change`; born aborted where its content is quarantined."""
        assert self.promoted is not None
        reason = self.quarantine.get(content_id(change), "")
        state = State(phase=Phase.ABORTED, quarantine=reason) if reason else State()
        release = self._next(change, way, commit, author, at, state=state)
        self._store.save(release)
        self._enter(release)
        return release

    def write(self, release: Release, at: datetime) -> None:
        """Write a step and its verdict, then hold it to be true. Raises where it cannot be written."""
        self._store.step(release, at, evidence_of(release))
        self.hold(release)

    def hold(self, release: Release) -> None:
        """Hold a state to be true that moves nothing: what was seen counts, written or not."""
        self.current[release.number] = release

    def write_back(self, release: Release, at: datetime) -> None:
        """Hold a backward step to be true, and write it now or later."""
        self.current[release.number] = release
        content = content_id(release.change)
        if release.state.quarantine:
            self.quarantine[content] = release.state.quarantine
        try:
            self._store.abort(release, content, at, evidence_of(release))
            self._unsaved.pop(release.number, None)
        except PolicydError as error:
            _LOG.error("backward step not written", release=release.id, error=str(error))
            self._unsaved[release.number] = release

    def write_what_is_left(self, at: datetime) -> None:
        """Write the backward steps and the floor that could not be written. Raises where it still cannot be done."""
        self.cuts.write_what_is_left()
        if self._floor_unsaved:
            self._store.set_floor(self.floor)
            self._floor_unsaved = False
        for number, release in list(self._unsaved.items()):
            self._store.abort(release, content_id(release.change), at, evidence_of(release))
            del self._unsaved[number]

    def at(self, now: datetime, ended: datetime | None) -> datetime:
        """The instant to take expired rules out for, where a rule ended at `ended` by the clock's `now`.

        What has ended once stays so when the clock is set back: never earlier than the floor, which is written
        before anything is done about it if that can be, and holds in any case.
        """
        if ended is not None and (self.floor is None or ended > self.floor):
            self.floor = ended
            try:
                self._store.set_floor(ended)
                self._floor_unsaved = False
            except PolicydError as error:
                _LOG.error("floor not written", floor=ended.isoformat(), error=str(error))
                self._floor_unsaved = True
        return now if self.floor is None else max(now, self.floor)

    def accept_clock(self, now: datetime) -> None:
        """Forget a floor that lies after `now`: a person says that the clock was wrong then. Raises if unwritten."""
        if self.floor is not None and self.floor > now:
            self._store.set_floor(None)
            self.floor, self._floor_unsaved = None, False

    def serve_first(self, mesh: Mesh) -> None:
        """Make a whole mesh the promoted one: nothing was promoted yet."""
        values: dict[tuple[Unit, Name], Value] = {
            (Unit.SETTINGS, Name("", mesh.settings.name)): mesh.settings,
            **{(Unit.SERVICE, name): service for name, service in mesh.services.items()},
            **{(Unit.ACCESS, name): access for name, access in mesh.access.items()},
        }
        self._store.promote(values)
        self.promoted, self.lost = mesh, False

    def forget_promoted(self) -> None:
        """What was taken for promoted is not: nor is there any release."""
        self.promoted, self.head = None, ""
        self.current.clear()
        self.history.clear()
        self._unsaved.clear()

    def lose(self) -> None:
        """Write down that what was promoted is not known, so that a restart does not forget it. Raises."""
        self._store.lose()
        self.lost = True

    def promote(self, release: Release) -> None:
        """Make the target of a release the promoted value."""
        assert self.promoted is not None
        self._store.promote({release.change.key: release.change.target}, [release])
        self.promoted = advance(self.promoted, release.change)
        self._archive(release)

    def supersede(self, releases: Sequence[Release], at: datetime) -> None:
        """End releases that Git no longer asks for."""
        for release in releases:
            self.write_back(release.superseded(at), at)
            self._archive(self.current[release.number])

    def refresh(self, now: Mesh) -> None:
        """Keep the promoted mesh `refreshed` with the instances that Git has now: they are runtime, not a release."""
        assert self.promoted is not None
        moved = {
            (Unit.SERVICE, name): service
            for name, service in now.services.items()
            if service is not self.promoted.services[name]
        }
        if moved:
            self._store.refresh(moved)
            self.promoted = now

    def try_again(self, release: Release, commit: str, at: datetime) -> Release:
        """Lift a quarantine, end the release that had it, and begin another one of the same change."""
        content = content_id(release.change)
        ended = release.superseded(at)
        fresh = self._next(release.change, release.way, commit, release.author, at, state=State())
        self._store.try_again(ended, fresh, content, at)
        self._unsaved.pop(release.number, None)
        self.quarantine.pop(content, None)
        self._archive(ended)
        self._enter(fresh)
        return fresh

    def begun(self) -> tuple[Release, ...]:
        """The releases that have reached somebody and are not on their way back."""
        return tuple(
            release
            for release in self.current.values()
            if release.phase in {Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING}
        )

    def find(self, ref: str) -> Release:
        """The release that a person means: `r7`, or the changed thing's name. Raises `UsageError`."""
        matches = [
            release
            for release in self.current.values()
            if ref in {release.id, str(release.number), str(release.change.name), release.change.name.name}
        ]
        if len(matches) == 1:
            return matches[0]
        over = next((release for release in self.history if ref in {release.id, str(release.number)}), None)
        if over is not None:
            raise UsageError(
                f"{over.id} ({title_of(over.change)}) is over: it is {over.phase.value}",
                hint="a revert in Git takes back what is promoted; a new commit begins a new release",
            )
        known = ", ".join(f"`{release.id}` ({release.change.name})" for release in self.current.values())
        word = "more than one release is" if matches else "no release is"
        raise UsageError(f"{word} meant by `{ref}`", hint=f"there are: {known or 'none'}")

    def release(self, number: int) -> Release:
        """A release by its number; one that a command has just ended is among those that are over."""
        if number in self.current:
            return self.current[number]
        return next(release for release in reversed(self.history) if release.number == number)

    def _next(self, change: Change, way: Way, commit: str, author: str, at: datetime, *, state: State) -> Release:
        known_good = self._store.known_good(change.unit, change.name, change.target)
        return Release(self._last + 1, change, way, commit, author, at, at, state, known_good=known_good)

    def _enter(self, release: Release) -> None:
        self._last = release.number
        self.current[release.number] = release

    def _archive(self, release: Release) -> None:
        self.current.pop(release.number, None)
        self.history.append(release)
