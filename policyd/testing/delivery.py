"""`FakeDelivery`: the sibling of the xDS server whose proxies acknowledge at once, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from policyd.delivery.outcome import Applied, Refusal, Refused
from policyd.delivery.snapshot import NodeSnapshot

Judge = Callable[[NodeSnapshot], str]
"""What a proxy says about a snapshot; empty accepts it."""


def accept_all(snapshot: NodeSnapshot) -> str:
    """A proxy that takes everything."""
    return ""


class FakeDelivery:
    """Every node in `assigned` is connected save those in `away`; `judge` decides for all of them.

    `assigned` is what each node was given last, `live` what it acknowledged last, `barriers` every call in order,
    `versions` the proxies' own, by node id. `holding` are the nodes that say to have configuration from somebody
    else, and `withheld` whether these are sent nothing.
    """

    def __init__(self, judge: Judge = accept_all) -> None:
        self.judge = judge
        self.away: set[str] = set()
        self.assigned: dict[str, NodeSnapshot] = {}
        self.live: dict[str, NodeSnapshot] = {}
        self.barriers: list[dict[str, NodeSnapshot]] = []
        self.versions: dict[str, str] = {}
        self.holding: set[str] = set()
        self.withheld = False
        self._refusals: dict[str, Refusal] = {}

    async def apply(self, assignment: Mapping[str, NodeSnapshot], deadline_s: float) -> Applied | Refused:
        """Take the snapshots that `judge` accepts; a node that refuses keeps what it had."""
        self.barriers.append(dict(assignment))
        self.assigned.update(assignment)
        refusals: list[Refusal] = []
        absent = frozenset(assignment.keys() & (self.away | (self.holding if self.withheld else set())))
        acknowledged: set[str] = set()
        for node_id, snapshot in sorted(assignment.items()):
            if node_id in absent:
                continue
            said = self.judge(snapshot)
            self._refusals.pop(node_id, None)
            if said:
                refusal = Refusal(node_id, snapshot.digest, "", (), said, self.proxy_version(node_id))
                self._refusals[node_id] = refusal
                refusals.append(refusal)
            else:
                self.live[node_id] = snapshot
                acknowledged.add(node_id)
        if refusals:
            return Refused(tuple(refusals), frozenset(acknowledged), absent)
        return Applied(frozenset(acknowledged), absent)

    def connected(self) -> frozenset[str]:
        """Every known node that is not away."""
        return frozenset(self.assigned.keys() - self.away)

    def refusals(self) -> Mapping[str, Refusal]:
        """The refusals that still stand."""
        return dict(self._refusals)

    def proxy_version(self, node_id: str) -> str:
        """As `versions` says, else all the same."""
        return self.versions.get(node_id, "fake 1.0.0")

    def withhold(self, strangers: bool) -> None:
        """Whether `holding` nodes are sent nothing."""
        self.withheld = strangers

    def holders(self) -> frozenset[str]:
        """The nodes that hold something of somebody else's."""
        return frozenset(self.holding)

    def forget(self, node_id: str) -> None:
        """Drop what is known of a node."""
        self.assigned.pop(node_id, None)
        self.live.pop(node_id, None)
        self._refusals.pop(node_id, None)
