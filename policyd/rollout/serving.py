"""What the nodes run now, and the way from there to something else: barrier by barrier, each acknowledged.

Only nodes whose snapshot changed are sent anything. A node that refused runs what it acknowledged last and is shown
as degraded until it acknowledges something newer; what it says meanwhile is no word about anybody else's change.
A node that came between two moves and refused is `unheard` until somebody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from policyd.base.stopwatch import Stopwatch, untimed
from policyd.delivery.outcome import Refusal, Refused
from policyd.delivery.snapshot import NodeSnapshot
from policyd.plan.effective import Effective
from policyd.plan.steps import steps
from policyd.rollout.assembly import Assembly
from policyd.rollout.drift import Served, drift
from policyd.rollout.ports import Delivery

DEADLINE_S = 15.0
"""How long a connected proxy may take to acknowledge; Envoy's own patience with a warming cluster."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a move, as far as it came."""

    changed: frozenset[str] = frozenset()
    refused: tuple[Refusal, ...] = ()
    """By nodes that were well before, one each."""
    faults: tuple[str, ...] = ()
    """What is wrong with a node's configuration as a whole, so that nobody was sent anything."""
    proven: frozenset[str] = frozenset()
    """Versions of proxies of which at least one acknowledged."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """All that stood against it, in words; empty: all is well."""
        return (*self.faults, *(str(refusal) for refusal in self.refused))

    def then(self, later: Moved) -> Moved:
        """Both barriers as one move."""
        refused = {refusal.node_id: refusal for refusal in (*self.refused, *later.refused)}
        return Moved(
            self.changed | later.changed,
            tuple(refused[node] for node in sorted(refused)),
            (*self.faults, *later.faults),
            self.proven | later.proven,
        )


Tolerates = Callable[[Moved], bool]
"""Whether a move may go on past a barrier that some nodes refused."""


def reaches_the_others(moved: Moved) -> bool:
    """What goes back, and what is runtime, goes on: a node that refuses must not keep it from the rest."""
    return True


class Serving:
    """Holds the effective mesh that was applied last and the snapshot that each node was given."""

    def __init__(
        self,
        assembly: Assembly,
        delivery: Delivery,
        deadline_s: float = DEADLINE_S,
        stopwatch: Stopwatch = untimed,
    ) -> None:
        self._assembly = assembly
        self._delivery = delivery
        self._deadline_s = deadline_s
        self._stopwatch = stopwatch
        self._given: dict[str, NodeSnapshot] = {}
        self._ill: frozenset[str] = frozenset()
        self.effective: Effective | None = None

    @property
    def degraded(self) -> dict[str, str]:
        """Node id -> what it said, for nodes that do not run what they should."""
        refusals = self._delivery.refusals()
        return {node: str(refusals[node]) for node in sorted(refusals) if node in self._given}

    async def move(self, after: Effective, tolerates: Tolerates = reaches_the_others) -> Moved:
        """Go from what is served to `after`. Stops at a fault, and at a refusal that is not tolerated."""
        before, moved = self.effective, Moved()
        ill = self._ill & self._delivery.refusals().keys()
        walk = steps(before, after) if before is not None else ()
        for stop in walk or (after,):
            # Set before it is sent: the way back from a refusal starts at what some nodes may already have.
            self.effective = stop
            moved = moved.then(await self._barrier(stop, ill))
            if moved.faults or (moved.refused and not tolerates(moved)):
                break
        self._ill = ill | {refusal.node_id for refusal in moved.refused}
        return moved

    def unheard(self) -> tuple[Refusal, ...]:
        """What nodes have said since the last move and the last time this was asked: they have come meanwhile."""
        standing = {node: said for node, said in self._delivery.refusals().items() if node in self._given}
        fresh = tuple(standing[node] for node in sorted(standing.keys() - self._ill))
        self._ill = frozenset(standing)
        return fresh

    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes that run something."""
        return tuple(node.id for node in self.effective.nodes()) if self.effective is not None else ()

    def served(self) -> Served | None:
        """What nodes should run and were given; `None` before anything is. Only between two moves."""
        if self.effective is None:
            return None
        return Served(self.effective, dict(self._given), self._assembly.secrets_of(self.effective.nodes()))

    async def drift(self, served: Served) -> tuple[str, ...]:
        """Where nodes were not given what a compilation from nothing gives."""
        secrets = served.secrets.__getitem__
        return await asyncio.to_thread(drift, served, self._assembly.anew(secrets))

    def compile_anew(self) -> None:
        """Trust nothing that was compiled before."""
        self._assembly.forget()

    def stand_still(self) -> None:
        """Nothing is known of what nodes should run: whatever comes next is given to all of them anew."""
        self.effective = None
        self._given.clear()

    async def _barrier(self, stop: Effective, ill: frozenset[str]) -> Moved:
        # In a thread: a cold compilation takes seconds, in which acknowledgements and renewals must go on.
        with self._stopwatch("assemble"):
            snapshots = await asyncio.to_thread(self._assembly.snapshots, stop.nodes(), stop.mesh_for)
        self._forget(snapshots)
        changed = {
            node: snapshot
            for node, snapshot in snapshots.items()
            if node not in self._given or self._given[node].digest != snapshot.digest
        }
        if not changed:
            return Moved()
        with self._stopwatch("check"):
            faults = self._faults(changed)
        if faults:
            return Moved(faults=tuple(faults))
        with self._stopwatch("deliver"):
            outcome = await self._delivery.apply(changed, self._deadline_s)
        self._given.update(changed)
        refusals = outcome.refusals if isinstance(outcome, Refused) else ()
        return Moved(
            frozenset(changed),
            tuple(refusal for refusal in refusals if refusal.node_id not in ill),
            proven=frozenset(self._delivery.proxy_version(node) for node in outcome.acknowledged),
        )

    def _faults(self, changed: Mapping[str, NodeSnapshot]) -> list[str]:
        return [
            f"`{node}`: {fault}" for node, snapshot in changed.items() for fault in self._assembly.faults(snapshot)
        ]

    def _forget(self, snapshots: Mapping[str, NodeSnapshot]) -> None:
        for node in self._given.keys() - snapshots.keys():
            del self._given[node]
            self._delivery.forget(node)
