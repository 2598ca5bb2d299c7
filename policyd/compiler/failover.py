"""The way that calls to one version take: first the version itself, then the fallbacks, each with its own identity.

Sources -> ways -> a list of members for each version that some of its calls can go on from
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policyd.compiler.naming import cluster_name, fallback_name
from policyd.compiler.sources import Sources
from policyd.model.failover import OTHER_ZONES, Fallback
from policyd.model.names import Name
from policyd.model.service import Endpoint, Service, Version


@dataclass(frozen=True, slots=True)
class Member:
    """One stop of a way: instances of one version under the cluster that holds them."""

    cluster: str
    service: Service
    version: Version
    zone: str = ""
    """The zone where those stand by that the cluster holds."""


Ways = Mapping[tuple[Name, str], tuple[Member, ...]]
"""By service and version; a version that nothing comes after has no way."""


def ways(sources: Sources) -> Ways:
    """The ways of all calls that sidecars of one service make."""
    known = {each.name: each for each in sources.inside}
    found: dict[tuple[Name, str], tuple[Member, ...]] = {}
    for name, fallbacks in sources.fallbacks.items():
        if (service := known.get(name)) is None:
            continue
        for version in service.versions:
            own = Member(cluster_name(name, version.name), service, version)
            way = (own, *_after(service, version, fallbacks, known))
            if len(way) > 1:
                found[name, version.name] = way
    return found


def zone_of(service: Service, caller: str) -> str:
    """The zone of a caller in `caller`, where it decides which instances of the service stand by; else empty."""
    return caller if any(each.zone == OTHER_ZONES for each in service.failover) else ""


def standing_by(service: Service) -> tuple[str, ...]:
    """The zones whose instances get calls only when what comes before them is down."""
    return tuple(dict.fromkeys(each.zone for each in service.failover if each.zone))


def instances(service: Service, version: Version, zone: str, caller_zone: str) -> tuple[Endpoint, ...]:
    """The instances of `version` that stand by in `zone` for a sidecar in `caller_zone`; `""`: those that do not.

    Where a caller has no zone, or nobody is in it, every zone is as good as his own.
    """
    zones = standing_by(service)
    near = caller_zone if any(each.zone == caller_zone for each in version.endpoints) else ""

    def stands(endpoint: Endpoint) -> str:
        if endpoint.zone in zones:
            return endpoint.zone
        return OTHER_ZONES if OTHER_ZONES in zones and near and endpoint.zone != near else ""

    return tuple(each for each in version.endpoints if stands(each) == zone)


def _after(
    service: Service, version: Version, fallbacks: tuple[Fallback, ...], known: Mapping[Name, Service]
) -> tuple[Member, ...]:
    found: list[Member] = []
    for each in fallbacks:
        if each.zone:
            name = cluster_name(service.name, version.name, each.zone)
            found.append(Member(name, service, version, each.zone))
            continue
        there = known.get(each.service) if each.service is not None else service
        to = there.version(there.serving if each.service is not None else each.version) if there is not None else None
        if there is not None and to is not None and (there is not service or to is not version):
            name = fallback_name(service.name, version.name, cluster_name(there.name, to.name))
            found.append(Member(name, there, to))
    return tuple(found)
