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
EDGE = "edge"
"""What a gateway listens with, one for each port: `edge/443`."""
CERTIFICATE = "certificate"
FAILOVER = "failover"
_ZONE = "zone"
SVID = "svid"
"""The SDS secret with the node's own certificate and key; each node gets its own content under this name."""
TRUST_BUNDLE = "trust-bundle"
"""The SDS secret with the roots that peers are verified against."""

COLLECTOR = "policyd-collector"
"""The cluster of the collector of spans; no slash in it, so it is taken for no version of a service."""

HEALTH_CHECK_HEADER = "x-policyd-health-check"
"""Marks a caller's health check, which the callee's sidecar answers itself, whatever proxy either of them is."""
EDGE_HEADER = "x-policyd-edge"
"""A gateway's mark on requests from outside: what refuses one names no identity, since the answer leaves the mesh.
Whoever else sets it is not told his own name."""
_HEALTH_CHECK_PATH = "/health"
PINNED = "/pinned"
LOOPBACK = "127.0.0.1"


def certificate_secret(name: str) -> str:
    """The SDS secret with a certificate that a gateway shows to its clients: `certificate/shop`."""
    return f"{CERTIFICATE}/{name}"


def cluster_name(service: Name, version: str, zone: str = "") -> str:
    """The upstream cluster of one version of a service: `namespace/service/version`.

    With `zone`, that of its instances that stand by there: `namespace/service/version/zone/b`.
    """
    name = f"{service.namespace}/{service.name}/{version}"
    return f"{name}/{_ZONE}/{zone}" if zone else name


def failover_name(service: Name, version: str) -> str:
    """The cluster that leads to a version and on from there: `namespace/service/version/failover`."""
    return f"{cluster_name(service, version)}/{FAILOVER}"


def fallback_name(service: Name, version: str, to: str) -> str:
    """The cluster that only the calls go to which are led on from a version, to those of the cluster `to`.

    It is their own so that they are counted: `namespace/service/version/failover/namespace/fallback/version`.
    """
    return f"{failover_name(service, version)}/{to}"


def parse_fallback_name(cluster: str) -> tuple[Name, str] | None:
    """Service and version that calls were led on to by this cluster; `None` for every other cluster."""
    parts = cluster.split("/")
    led_on = len(parts) == 7 and parts[3] == FAILOVER
    return parse_cluster_name("/".join(parts[4:])) if led_on else None


def pinned_cluster_name(service: Name, version: str) -> str:
    """The upstream cluster of requests that a route pins to a version: the same instances, counters of its own.

    So it is no cluster of the version to `parse_cluster_name`, and what becomes of these requests is no part of an
    analysis.
    """
    return cluster_name(service, version) + PINNED


def unpinned(cluster: str) -> str:
    """The cluster of the version that a pinned one belongs to; every other name as it is."""
    return cluster.removesuffix(PINNED)


def is_failover(cluster: str) -> bool:
    """Whether calls go to this cluster that may be led on from a version; who answered is not in its name."""
    return cluster.endswith(f"/{FAILOVER}")


def parse_cluster_name(cluster: str) -> tuple[Name, str] | None:
    """Service and version that callers mean by a cluster, or `None` for the sidecar's own clusters.

    A call that was led on was meant for the version that it was led on from.
    """
    parts = cluster.split("/")
    standing_by = len(parts) == 5 and parts[3] == _ZONE
    led_on = len(parts) in (4, 7) and parts[3] == FAILOVER
    if not all(parts) or not (len(parts) == 3 or led_on or standing_by):
        return None
    return Name(parts[0], parts[1]), parts[2]


def host_names(settings: Settings, service: Name, *, local: bool) -> list[str]:
    """What callers may call a service. Only its own namespace (`local`) calls it by the short name."""
    names = [f"{service.name}.{service.namespace}", dns_name(settings.trust_domain, service)]
    return [service.name, *names] if local else names


def connections_name(service: Name) -> str:
    """The listener of a caller's sidecar for connections to a `tcp` service: `connections/namespace/service`."""
    return f"connections/{service}"


def health_path(check: HealthCheck) -> str:
    """The path that callers' sidecars ask the callee's for, by HTTP, however that one asks its application."""
    return check.path or _HEALTH_CHECK_PATH


def outbound_address(instance: str) -> str:
    """Where an instance's own application finds its sidecar: loopback, never an address that other hosts reach.

    An instance whose address is itself loopback (many sidecars on one host) has its own.
    """
    return instance if ip_address(instance).is_loopback else LOOPBACK
