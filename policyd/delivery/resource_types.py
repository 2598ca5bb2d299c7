"""The xDS resource types that policyd delivers, by type URL.

Source: Envoy API v3, "xDS transport protocol", table of resource types.
"""

from __future__ import annotations

_PREFIX = "type.googleapis.com/"

CLUSTER = f"{_PREFIX}envoy.config.cluster.v3.Cluster"
ENDPOINT = f"{_PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{_PREFIX}envoy.config.listener.v3.Listener"
ROUTE = f"{_PREFIX}envoy.config.route.v3.RouteConfiguration"
SECRET = f"{_PREFIX}envoy.extensions.transport_sockets.tls.v3.Secret"

WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""A proxy may ask for all of these without naming any."""

PUSH_ORDER = (SECRET, CLUSTER, ENDPOINT, LISTENER, ROUTE)
"""What is used before what uses it; see `policyd.delivery.xds.conversation`."""


def short_name(type_url: str) -> str:
    """`Cluster` for a cluster's type URL; what people read in status and logs."""
    return type_url.rsplit(".", 1)[-1]
