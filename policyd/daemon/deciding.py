"""Answers access questions: for the mesh that is promoted now, or for what somebody names (`elsewhere`).

Stands behind `api.control.Decisions`. An index is built anew when another mesh is asked about; a question reads it
once, so that an answer and its commit agree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from policyd.api.control import Differing
from policyd.base.clock import Clock
from policyd.base.errors import Retry
from policyd.daemon.elsewhere import Elsewhere, Standing
from policyd.decisions import (
    Answer,
    Index,
    Live,
    Request,
    Said,
    explained,
    explained_from_caller,
    follow,
    routing,
)
from policyd.model.mesh import Mesh
from policyd.model.names import parse_spiffe_id
from policyd.model.provenance import Key, Provenance
from policyd.model.revocation import Revocation
from policyd.plan.floor import NOTHING_ENDED, Floor, subtracted

INDEXES = 8
"""Meshes whose indexes are kept: those that proxies differ in, and what was asked about lately."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is promoted, without who is cut off, and where Git says it."""

    mesh: Mesh
    commit: str
    provenance: Mapping[Key, Provenance]
    floor: datetime | None = None
    """The last instant at which a rule was taken as expired: one that a clock set back does not undo."""
    cuts: tuple[Revocation, ...] = ()


class Indexes:
    """The indexes of the meshes that were asked about last, each minus who is cut off; not for two threads."""

    def __init__(self, kept: int = INDEXES) -> None:
        self._kept = kept
        self._made: OrderedDict[tuple[int, tuple[Revocation, ...]], tuple[Mesh, Mesh, Index]] = OrderedDict()
        self._last: Index | None = None

    def of(self, mesh: Mesh, cuts: tuple[Revocation, ...] = ()) -> tuple[Index, Mesh]:
        """The index of `mesh`, and what it was made of."""
        key = (id(mesh), cuts)
        known = self._made.get(key)
        if known is None:
            left = subtracted(mesh, Floor(NOTHING_ENDED, cuts))
            self._last = Index.build(left, self._last)
            known = self._made[key] = (mesh, left, self._last)  # holds the mesh, so that no other gets its id
            if len(self._made) > self._kept:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return known[2], known[1]


class ControllerDecisions:
    """`Decisions` over whatever `promoted` returns at the moment of a question."""

    def __init__(self, promoted: Callable[[], Promoted | None], elsewhere: Elsewhere, clock: Clock) -> None:
        self._promoted = promoted
        self._elsewhere = elsewhere
        self._clock = clock
        self._indexes = Indexes()

    def differing(self) -> Mapping[str, Differing]:
        """The services some of whose connected proxies decide by other rules than the promoted ones."""
        now = self._promoted()
        return {} if now is None else self._elsewhere.fleet.differing(now.mesh)

    async def explain(
        self, request: Request, at: str = "", *, when: datetime | None = None, logged: str = "", sent: bool = False
    ) -> Answer:
        """The answer of what `at` names, and what proxies do while they differ from it.

        Raises `UsageError` for an `at` that names nothing, `Retry` where it cannot be read now.
        """
        now = self._now()
        standing = Standing("promoted", now.mesh, now.commit, now.provenance)
        if at and at != "promoted":
            standing = await self._elsewhere.find(at, standing)
        instant = when if when is not None else self._instant(now)
        index, mesh = self._indexes.of(standing.mesh, now.cuts)
        said = Said(mesh, standing.provenance, standing.commit, now.cuts)
        ways = partial(self._routing, standing)
        if not sent:
            answer = explained(said, index, request, ways, instant, logged=logged)
            live = self._live(request, now, instant, answer)
            return replace(answer, judged=standing.name, live=live)
        followed = follow(index, mesh, request, instant)
        answer = explained_from_caller(said, index, followed, ways, instant)
        live = self._live(followed.judged, now, instant, answer) if followed.reply is None else None
        return replace(answer, judged=standing.name, live=live)

    def _now(self) -> Promoted:
        now = self._promoted()
        if now is None:
            raise Retry("no mesh has been promoted yet", after=1.0)
        return now

    def _instant(self, now: Promoted) -> datetime:
        """The clock, unless it was set back behind what has ended."""
        return self._clock.now() if now.floor is None else max(self._clock.now(), now.floor)

    def _routing(self, standing: Standing, request: Request) -> tuple[str, ...]:
        """Where the request goes: now, for what is promoted, as the caller's own proxies have it; else at rest."""
        caller = parse_spiffe_id(standing.mesh.settings.trust_domain, request.source)
        ways: dict[tuple[str, ...], int] = {}
        if standing.name == "promoted" and caller is not None:
            for node in self._elsewhere.fleet.connected(caller):
                if request.destination in node.mesh.services:
                    found = routing(node.mesh, request)
                    ways[found] = ways.get(found, 0) + 1
        if len(ways) < 2:
            return next(iter(ways), None) or routing(standing.mesh, request)
        of = sum(ways.values())
        return tuple(f"at {count} of {of} of its proxies: {way}" for found, count in ways.items() for way in found)

    def _live(self, request: Request, now: Promoted, at: datetime, answer: Answer) -> Live | None:
        """How many of the destination's connected proxies allow the request; `None` while all do as the answer."""
        allow = of = unknown = 0
        for node in self._elsewhere.fleet.connected(request.destination):
            of += 1
            if not node.in_sync:
                unknown += 1
            elif self._indexes.of(node.mesh, now.cuts)[0].decide(request, at).allow:
                allow += 1
        same = unknown == 0 and allow == (of if answer.allow else 0)
        return None if same else Live(allow, of, unknown)
