"""Where requests end: the shares of a rule, or of a service at large, with every split in between worked out.

    targets of a rule -> splits of the services that it names -> ways

A canary that is on its way in one of these services moves its share here, too; a version that is named by itself
does not move.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import product

from policyd.model.names import Name
from policyd.model.route import RouteRule
from policyd.model.route_actions import Mirror
from policyd.model.service import WHOLE, HeaderMatch, Service

Known = Callable[[Name], Service | None]
"""The services that a caller may call; for every other one `None`."""


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """A version of a service, and the share that it gets. `pinned`: by name, whatever the service's split says."""

    service: Name
    version: str
    pinned: bool
    weight: int


@dataclass(frozen=True, slots=True)
class Fork:
    """The ways of the requests that bring all of `headers`; none at all: nobody may be called."""

    headers: tuple[HeaderMatch, ...]
    ways: tuple[Way, ...]


def forks(service: Service, rule: RouteRule | None, known: Known) -> tuple[Fork, ...]:
    """The ways of a rule (`None`: of the service at large), those for more headers first; the last asks for none.

    A service that the caller may not call gets nothing, and the others share what it would have got: whom a caller
    reaches is a matter of access rules, and a route opens nothing.
    """
    targets = _targets(service, rule, known)
    firsts = [one.split.first for one, version, _ in targets if not version]
    headers = tuple(dict.fromkeys(first for first in firsts if first is not None))
    found = []
    for chosen in sorted(product((True, False), repeat=len(headers)), key=sum, reverse=True):
        brought = tuple(header for header, there in zip(headers, chosen, strict=True) if there)
        found.append(Fork(brought, _ways(targets, brought)))
    return tuple(found)


def _targets(service: Service, rule: RouteRule | None, known: Known) -> list[tuple[Service, str, int]]:
    """Service, version (empty: by its own split) and weight."""
    if rule is None or not rule.targets:
        return [(service, "", WHOLE)]
    found = []
    for target in rule.targets:
        aim = service if target.service is None else known(target.service)
        if aim is not None:
            found.append((aim, target.version, target.weight))
    return found


def _ways(targets: list[tuple[Service, str, int]], brought: tuple[HeaderMatch, ...]) -> tuple[Way, ...]:
    shares: dict[tuple[Name, str, bool], int] = {}
    for service, version, weight in targets:
        split = service.split
        if version:
            parts: Mapping[str, int] = {version: WHOLE}
        elif split.first is not None and split.first in brought:
            parts = {split.first_version: WHOLE}
        else:
            parts = dict(split.weights)
        for name, share in parts.items():
            key = (service.name, name, bool(version))
            shares[key] = shares.get(key, 0) + weight * share
    # Basis points wherever they are exact: what a proxy holds is then what a person wrote, and can be read back.
    unit = WHOLE if not any(share % WHOLE for share in shares.values()) else 1
    return tuple(Way(*key, share // unit) for key, share in sorted(shares.items()))


def mirrored(service: Service, mirror: Mirror, known: Known) -> tuple[Name, str] | None:
    """Service and version that a copy goes to; `None` where the caller may not call that service."""
    aim = service if mirror.service is None else known(mirror.service)
    return (aim.name, mirror.version or aim.serving) if aim is not None else None


def asides(services: Collection[Service]) -> tuple[tuple[Service, str], ...]:
    """The versions, each with its service, that rules of routes send requests or copies to by name, sorted."""
    known = {service.name: service for service in services}
    found: set[tuple[Name, str]] = set()
    for service in services:
        for rule in service.route.rules if service.route is not None else ():
            found.update((service.name, target.version) for target in rule.targets if target.version)
            copies = (mirrored(service, mirror, known.get) for mirror in rule.mirrors)
            found.update(copy for copy in copies if copy is not None)
    return tuple((known[name], version) for name, version in sorted(found))
