"""The status as values: services with their shares and rates, proxies with what they run. Pure reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policyd.api.control import NodeStatus, ServiceStatus, VersionStatus
from policyd.delivery.xds.server import XdsServer
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Service, Split
from policyd.plan.effective import Effective
from policyd.rollout.record import Phase, ReleaseRecord
from policyd.telemetry.rates import Rate


def proxies(effective: Effective | None, xds: XdsServer, degraded: Mapping[str, str]) -> tuple[NodeStatus, ...]:
    """Every proxy of the mesh that is served: connected, in sync, and what it refused."""
    if effective is None:
        return ()
    connected = xds.connected()
    found: list[NodeStatus] = []
    for node in effective.nodes():
        proxy = xds.proxy(node.id)
        found.append(
            NodeStatus(
                node=node.id,
                connected=node.id in connected,
                in_sync=node.id in connected and proxy.converged and node.id not in degraded,
                snapshot=proxy.assigned.digest if proxy.assigned is not None else "",
                refused=degraded.get(node.id, ""),
            )
        )
    return tuple(found)


def held_proxies(nodes: Sequence[str], xds: XdsServer) -> tuple[NodeStatus, ...]:
    """The proxies that keep what they run, since nobody knows what they should."""
    there = xds.present()
    return tuple(NodeStatus(node, node in there, False, "") for node in nodes)


def held_services(splits: Mapping[Name, Split], head: Mesh | None) -> tuple[ServiceStatus, ...]:
    """Every service as its callers were found to split requests for it, beside what Git asks for."""
    found: list[ServiceStatus] = []
    for name, split in splits.items():
        wanted = head.services.get(name) if head is not None else None
        shares = dict(split.weights)
        versions = {version.name for version in wanted.versions} if wanted is not None else set()
        found.append(
            ServiceStatus(
                service=str(name),
                asked=wanted.serving if wanted is not None else "",
                versions=tuple(
                    _version(wanted, version, shares.get(version, 0), None)
                    for version in sorted(versions | shares.keys())
                ),
            )
        )
    return tuple(found)


def outside(mesh: Mesh) -> dict[str, str]:
    """External hosts as callers name them, each with its `Egress`."""
    found = ((each.external, name) for name, each in mesh.services.items())
    return {external.host: str(name) for external, name in found if external is not None}


def services(
    promoted: Mesh, head: Mesh | None, records: Sequence[ReleaseRecord], rates: Sequence[Rate]
) -> tuple[ServiceStatus, ...]:
    """Every service: the version that Git asks for, and what each version gets and does now."""
    moving = {r.name: r for r in records if r.unit == "service" and r.phase.in_flight and r.weights}
    measured = {(rate.service, rate.version): rate for rate in rates}
    asked = head if head is not None else promoted
    found: list[ServiceStatus] = []
    for name, service in promoted.services.items():
        release = moving.get(str(name))
        shares = dict(release.weights) if release is not None else dict(service.split.weights)
        wanted = asked.services.get(name, service)
        found.append(
            ServiceStatus(
                service=str(name),
                asked=wanted.serving,
                versions=tuple(
                    _version(wanted, version, shares.get(version, 0), measured.get((name, version)))
                    for version in sorted({v.name for v in wanted.versions} | shares.keys())
                ),
                diverged=_diverged(str(name), wanted, service, records),
            )
        )
    return tuple(found)


def _version(service: Service | None, name: str, weight: int, rate: Rate | None) -> VersionStatus:
    version = service.version(name) if service is not None else None
    instances = len(version.endpoints) if version is not None else 0
    if rate is None:
        return VersionStatus(name, weight, instances)
    return VersionStatus(name, weight, instances, rate.requests_per_s, rate.error_share, rate.p50_ms, rate.p99_ms)


def _diverged(name: str, wanted: Service, served: Service, records: Sequence[ReleaseRecord]) -> str:
    """Why Git's version does not serve, where a release of it went back."""
    if wanted.serving == served.serving:
        return ""
    own = [record for record in records if record.unit == "service" and record.name == name]
    if not own or own[-1].phase is not Phase.ABORTED:
        return ""  # on its way there
    return own[-1].quarantine or own[-1].reason
