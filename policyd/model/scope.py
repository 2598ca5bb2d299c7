"""Which services an identity may call at all: the index by caller over access rules.

Compilers give a sidecar only the destinations in its scope; `plan` finds the proxies that a change touches.
Enforced and observed rules both count: a request that an observed rule would allow must reach its destination
to be counted there. Paths, methods and expiry do not matter here; expired rules are subtracted before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from policyd.model.access import Access, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name, parse_spiffe_id

_NOBODY: frozenset[Name] = frozenset()


@dataclass(frozen=True, slots=True)
class Callers:
    """Who an access names, in the mesh or not; identities of other trust domains have no sidecar here."""

    services: frozenset[Name] = _NOBODY
    namespaces: frozenset[str] = frozenset()
    anyone: bool = False

    @classmethod
    def of(cls, access: Access, trust_domain: str) -> Callers:
        """The callers of all rules of one destination."""
        services: set[Name] = set()
        namespaces: set[str] = set()
        anyone = False
        for rule in access.rules:
            for source in rule.sources:
                if source.services or source.identities:
                    services.update(_named(source, trust_domain))
                elif source.namespaces:
                    namespaces.update(source.namespaces)
                else:
                    anyone = anyone or source.anyone or source.any_identity
        return cls(frozenset(services), frozenset(namespaces), anyone)

    def include(self, caller: Name) -> bool:
        """Whether a service of the mesh is named."""
        return self.anyone or caller in self.services or caller.namespace in self.namespaces

    def among(self, services: Collection[Name]) -> frozenset[Name]:
        """Those of `services` that are named."""
        if self.anyone:
            return frozenset(services)
        named = self.services.intersection(services)
        if self.namespaces:
            named |= {service for service in services if service.namespace in self.namespaces}
        return named


def _named(source: Source, trust_domain: str) -> Iterable[Name]:
    """The services that a source with `services` or `identities` comes down to: set fields are ANDed."""
    if not source.identities:
        names: Iterable[Name] = source.services
    else:
        parsed = (parse_spiffe_id(trust_domain, identity) for identity in source.identities)
        names = [name for name in parsed if name is not None and (not source.services or name in source.services)]
    if not source.namespaces:
        return names
    return [name for name in names if name.namespace in source.namespaces]


@dataclass(frozen=True, slots=True)
class Scope:
    """Destinations by caller: services of the mesh only, and the caller itself only where a rule says so."""

    _by_service: Mapping[Name, Collection[Name]]
    _by_namespace: Mapping[str, Collection[Name]]
    _open: frozenset[Name]

    @classmethod
    def of(cls, mesh: Mesh) -> Scope:
        """The scope of `mesh`, built when first asked for and kept with it."""
        known = mesh.derived.get(cls)
        if known is None:
            known = mesh.derived[cls] = cls._build(mesh)
        return cast("Scope", known)

    @classmethod
    def _build(cls, mesh: Mesh) -> Scope:
        by_service: dict[Name, list[Name]] = {}
        by_namespace: dict[str, list[Name]] = {}
        anyone: list[Name] = []
        for destination, access in mesh.access.items():
            if destination not in mesh.services:
                continue
            callers = Callers.of(access, mesh.settings.trust_domain)
            for service in callers.services:
                by_service.setdefault(service, []).append(destination)
            for namespace in callers.namespaces:
                by_namespace.setdefault(namespace, []).append(destination)
            if callers.anyone:
                anyone.append(destination)
        return cls(by_service, by_namespace, frozenset(anyone))

    def destinations(self, caller: Name) -> tuple[Name, ...]:
        """The services that `caller`'s identity may send some request to, sorted."""
        named = self._open.union(
            self._by_service.get(caller, _NOBODY), self._by_namespace.get(caller.namespace, _NOBODY)
        )
        return tuple(sorted(named))
