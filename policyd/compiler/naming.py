"""Names that compilers, telemetry and tests must agree on.

Names of intents are DNS labels (no dots, no slashes), so `/` joins them without ambiguity and survives in
Envoy's stat names, where a dot would split.
"""

from __future__ import annotations

from ipaddress import ip_address

from policyd.model.mesh import Settings
from policyd.model.names import Name, dns_name
from policyd.model.service import HealthCheck

APP = "app"
"""The cluster of a sidecar's own application; also the inbound listener's only upstream."""
INBOUND = "inbound"
OUTBOUND = "outbound"
SVID = "svid"
"""The SDS secret with the node's own certificate and key; each node gets its own content under this name."""
TRUST_BUNDLE = "trust-bundle"
"""The SDS secret with the roots that peers are verified against."""

HEALTH_CHECK_HEADER = "x-policyd-health-check"
"""Marks a caller's health check, which the callee's sidecar answers itself, whatever proxy either of them is."""
_HEALTH_CHECK_PATH = "/health"
LOOPBACK = "127.0.0.1"


def cluster_name(service: Name, version: str) -> str:
    """The upstream cluster of one version of a service: `namespace/service/version`."""
    return f"{service.namespace}/{service.name}/{version}"


def parse_cluster_name(cluster: str) -> tuple[Name, str] | None:
    """Service and version of a cluster, or `None` for the sidecar's own clusters."""
    parts = cluster.split("/")
    if len(parts) != 3 or not all(parts):
        return None
    return Name(parts[0], parts[1]), parts[2]


def host_names(settings: Settings, service: Name, *, local: bool) -> list[str]:
    """What callers may call a service. Only its own namespace (`local`) calls it by the short name."""
    names = [f"{service.name}.{service.namespace}", dns_name(settings.trust_domain, service)]
    return [service.name, *names] if local else names


def health_path(check: HealthCheck) -> str:
    """The path that callers' sidecars ask the callee's for, by HTTP, however that one asks its application."""
    return check.path or _HEALTH_CHECK_PATH


def outbound_address(instance: str) -> str:
    """Where an instance's own application finds its sidecar: loopback, never an address that other hosts reach.

    An instance whose address is itself loopback (many sidecars on one host) has its own.
    """
    return instance if ip_address(instance).is_loopback else LOOPBACK
