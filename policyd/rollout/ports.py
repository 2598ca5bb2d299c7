"""What the driver asks of the world, as protocols: production and tests pass in what fits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from policyd.delivery.outcome import Applied, Refusal, Refused
from policyd.delivery.snapshot import NodeSnapshot


class Delivery(Protocol):
    """How snapshots reach proxies; `delivery.xds.XdsServer` in production."""

    async def apply(self, assignment: Mapping[str, NodeSnapshot], deadline_s: float) -> Applied | Refused:
        """Give each named node its snapshot; return when every connected one acknowledged or refused it."""
        ...

    def connected(self) -> frozenset[str]:
        """Ids of the nodes that are connected now."""
        ...

    def refusals(self) -> Mapping[str, Refusal]:
        """By node id: why it does not run what it is assigned, for those that refused."""
        ...

    def proxy_version(self, node_id: str) -> str:
        """The program that runs as that node; empty where it did not say."""
        ...

    def withhold(self, strangers: bool) -> None:
        """Whether proxies that hold configuration of which there is no record are sent nothing."""
        ...

    def holders(self) -> frozenset[str]:
        """Nodes that hold configuration which this process has not given them."""
        ...

    def forget(self, node_id: str) -> None:
        """A node has left the mesh for good."""
        ...


class Trust(Protocol):
    """Which roots proxies are given to verify each other by; `daemon.wallet.Wallet` in production."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """The roots (SHA-256, sorted) that proxies were given, or may have been, and are distrusted since."""
        ...

    def distrust(self, roots: Collection[str]) -> bool:
        """Trust these no more, whatever can be written; whether proxies have to be given other secrets for it."""
        ...

    def readmit(self, roots: Collection[str]) -> None:
        """A person has taken his distrust back; proxies are not given these again by that."""
        ...
