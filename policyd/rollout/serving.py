"""What the nodes run now, and the way from there to something else: barrier by barrier, each acknowledged.

Only nodes whose snapshot changed are sent anything. A node that refused is sent its snapshot again with the next
move, whatever that is; until then it is shown as degraded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from policyd.delivery.outcome import Refused
from policyd.delivery.snapshot import NodeSnapshot
from policyd.plan.effective import Effective
from policyd.plan.steps import steps
from policyd.rollout.assembly import Assembly
from policyd.rollout.ports import Delivery

DEADLINE_S = 15.0
"""How long a connected proxy may take to acknowledge; Envoy's own patience with a warming cluster."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a move. `refused` are nodes with what they said (empty: all is well)."""

    changed: frozenset[str]
    refused: tuple[str, ...] = ()


class Serving:
    """Holds the effective mesh that was applied last and the snapshot that each node was given."""

    def __init__(self, assembly: Assembly, delivery: Delivery, deadline_s: float = DEADLINE_S) -> None:
        self._assembly = assembly
        self._delivery = delivery
        self._deadline_s = deadline_s
        self._digests: dict[str, str] = {}
        self.effective: Effective | None = None
        self.degraded: dict[str, str] = {}
        """Node id -> what it said, for nodes that do not run what they should."""

    async def move(self, after: Effective) -> Moved:
        """Go from what is served to `after`. Stops at the first barrier that a node refuses."""
        before, changed = self.effective, frozenset[str]()
        walk = steps(before, after) if before is not None else ()
        for stop in walk or (after,):
            # Set before it is sent: the way back from a refusal starts at what some nodes may already have.
            self.effective = stop
            moved = await self._barrier(stop)
            changed |= moved.changed
            if moved.refused:
                return Moved(changed, moved.refused)
        return Moved(changed)

    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes that run something."""
        return tuple(node.id for node in self.effective.nodes()) if self.effective is not None else ()

    async def _barrier(self, stop: Effective) -> Moved:
        # In a thread: a cold compilation takes seconds, in which acknowledgements and renewals must go on.
        snapshots = await asyncio.to_thread(self._assembly.snapshots, stop.nodes(), stop.mesh_for)
        self._forget(snapshots)
        changed = {
            node: snapshot for node, snapshot in snapshots.items() if self._digests.get(node) != snapshot.digest
        }
        if not changed:
            return Moved(frozenset())
        faults = [
            f"`{node}`: {fault}" for node, snapshot in changed.items() for fault in self._assembly.faults(snapshot)
        ]
        if faults:
            return Moved(frozenset(), tuple(faults))
        outcome = await self._delivery.apply(changed, self._deadline_s)
        self._digests.update({node: snapshot.digest for node, snapshot in changed.items()})
        for node in changed:
            self.degraded.pop(node, None)
        refusals = outcome.refusals if isinstance(outcome, Refused) else ()
        for refusal in refusals:
            self.degraded[refusal.node_id] = str(refusal)
            self._digests[refusal.node_id] = ""
        return Moved(frozenset(changed), tuple(str(refusal) for refusal in refusals))

    def _forget(self, snapshots: Mapping[str, NodeSnapshot]) -> None:
        for node in self._digests.keys() - snapshots.keys():
            del self._digests[node]
            self.degraded.pop(node, None)
            self._delivery.forget(node)
