"""The instances of a version.

A version without instances has an *empty* assignment: Envoy keeps the old hosts of a removed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from policyd.model.balancing import ZonePreference
from policyd.model.service import Endpoint, Version
from policyd_compilers.envoy import balancing
from policyd_compilers.envoy.proto import uint32

UNTIL_THE_LAST = 1_000_000
"""Per cent of its share of calls that a healthy instance takes: all of them. With Envoy's 140 %, 30 % of the calls
would go to the fallback as soon as one of two instances is down."""


def socket_address(address: str, port: int) -> Any:
    """An IP address and a TCP port."""
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=address, port_value=port))


def fixed_assignment(cluster: str, addresses: Iterable[Any]) -> Any:
    """What stands in the cluster itself: instances at these addresses, in no zone."""
    return endpoint_pb2.ClusterLoadAssignment(
        cluster_name=cluster,
        endpoints=[
            endpoint_components_pb2.LocalityLbEndpoints(
                lb_endpoints=[
                    endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=address))
                    for address in addresses
                ]
            )
        ],
    )


def load_assignment(
    cluster: str,
    version: Version,
    inbound_port: int,
    zone: str = "",
    preferred: ZonePreference | None = None,
    *,
    fails_over: bool = False,
) -> Any:
    """Where the sidecars of `version` listen, grouped by zone, in a stable order; for a caller in `zone`.

    `fails_over`: what comes after them gets nothing while one of them is healthy, unless a zone is preferred.
    """
    ordered = sorted(version.endpoints, key=lambda endpoint: (endpoint.zone, endpoint.address))
    message = endpoint_pb2.ClusterLoadAssignment(
        cluster_name=cluster,
        endpoints=[
            endpoint_components_pb2.LocalityLbEndpoints(
                locality=base_pb2.Locality(zone=zone) if zone else None,
                lb_endpoints=[lb_endpoint(member, inbound_port) for member in members],
            )
            for zone, members in groupby(ordered, key=lambda endpoint: endpoint.zone)
        ],
    )
    balancing.prefer(message, version, zone, preferred)
    if fails_over and not message.HasField("policy"):
        message.policy.overprovisioning_factor.CopyFrom(uint32(UNTIL_THE_LAST))
    return message


def lb_endpoint(endpoint: Endpoint, inbound_port: int) -> Any:
    """One instance, reached at its sidecar."""
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=socket_address(endpoint.address, inbound_port))
    )
