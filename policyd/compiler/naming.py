"""Names that compilers, telemetry and tests must agree on.

Names of intents are DNS labels (no dots, no slashes), so `/` joins them without ambiguity and survives in
Envoy's stat names, where a dot would split.
"""

from __future__ import annotations

from policyd.model.names import Name

APP = "app"
"""The cluster of a sidecar's own application; also the inbound listener's only upstream."""
INBOUND = "inbound"
OUTBOUND = "outbound"
SVID = "svid"
"""The SDS secret with the node's own certificate and key; each node gets its own content under this name."""
TRUST_BUNDLE = "trust-bundle"
"""The SDS secret with the roots that peers are verified against."""


def cluster_name(service: Name, version: str) -> str:
    """The upstream cluster of one version of a service: `namespace/service/version`."""
    return f"{service.namespace}/{service.name}/{version}"


def parse_cluster_name(cluster: str) -> tuple[Name, str] | None:
    """Service and version of a cluster, or `None` for the sidecar's own clusters."""
    parts = cluster.split("/")
    if len(parts) != 3 or not all(parts):
        return None
    return Name(parts[0], parts[1]), parts[2]
