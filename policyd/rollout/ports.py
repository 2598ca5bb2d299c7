"""What the driver asks of the world, as protocols: production and tests pass in what fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from policyd.delivery.outcome import Applied, Refused
from policyd.delivery.snapshot import NodeSnapshot


class Delivery(Protocol):
    """How snapshots reach proxies; `delivery.xds.XdsServer` in production."""

    async def apply(self, assignment: Mapping[str, NodeSnapshot], deadline_s: float) -> Applied | Refused:
        """Give each named node its snapshot; return when every connected one acknowledged or refused it."""
        ...

    def connected(self) -> frozenset[str]:
        """Ids of the nodes that are connected now."""
        ...

    def forget(self, node_id: str) -> None:
        """A node has left the mesh for good."""
        ...
