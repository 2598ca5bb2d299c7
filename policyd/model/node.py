"""A node is one proxy: the sidecar of one instance of one version of one service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Endpoint


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """Who a proxy is. The version comes from where the instance is registered, never from the proxy's word."""

    service: Name
    version: str
    endpoint: Endpoint

    @property
    def id(self) -> str:
        """The xDS node id: `namespace/service/version/address`."""
        return f"{self.service.namespace}/{self.service.name}/{self.version}/{self.endpoint.address}"


def service_of(node_id: str) -> Name | None:
    """The service that a node id belongs to; `None` for a text that is no node id."""
    parts = node_id.split("/")
    return Name(parts[0], parts[1]) if len(parts) == 4 and all(parts) else None


def version_of(node_id: str) -> str:
    """The version in a node id."""
    return node_id.split("/")[2]


def address_of_node(node_id: str) -> str:
    """The address in a node id."""
    return node_id.rpartition("/")[2]


def nodes(mesh: Mesh) -> Iterator[Node]:
    """Every node of the mesh, by service, version and address."""
    for service in mesh.services.values():
        for version in service.versions:
            for endpoint in version.endpoints:
                yield Node(service.name, version.name, endpoint)
