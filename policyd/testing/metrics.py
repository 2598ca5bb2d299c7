"""`FakeMetrics`: the sibling of `EnvoyStats` whose counters move only when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from policyd.base.clock import Clock
from policyd.telemetry.source import ClusterCounters, NodeCounters, Reading


class FakeMetrics:
    """Cumulative counters per node and cluster. Nodes in `silent` cannot be read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nodes: dict[str, NodeCounters] = {}
        self.silent: set[str] = set()

    def count(self, node: str, cluster: str, requests: int, errors: int = 0) -> None:
        """Let a node have made `requests` more calls to a cluster, `errors` of them failed."""
        known = self._nodes.get(node, NodeCounters())
        before = known.clusters.get(cluster, ClusterCounters())
        after = ClusterCounters(before.completed + requests, before.errors + errors)
        self._nodes[node] = replace(known, clusters={**known.clusters, cluster: after})

    def arrive(self, node: str, requests: int, denied: int = 0) -> None:
        """Let `requests` more have come in at a node, `denied` of them refused by its access rules."""
        known = self._nodes.get(node, NodeCounters())
        self._nodes[node] = replace(
            known,
            inbound_requests=known.inbound_requests + requests,
            inbound_denied=known.inbound_denied + denied,
        )

    def restart(self, node: str) -> None:
        """Let a proxy begin to count anew."""
        self._nodes.pop(node, None)

    async def read(self, nodes: Sequence[str]) -> Reading:
        """What was counted; a node that did nothing yet is read as having counted nothing."""
        found = {node: self._nodes.get(node, NodeCounters()) for node in nodes if node not in self.silent}
        return Reading(self._clock.monotonic(), found)
