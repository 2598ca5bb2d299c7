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
    revoked: frozenset[Name] = _NOBODY
    """Services that are cut off, whoever names them."""
    foreign: frozenset[str] = frozenset()
    """Identities of other trust domains."""
    strangers: bool = False
    """Whether any identity of another trust domain may be meant: a source looks at addresses alone."""

    @classmethod
    def of(cls, access: Access, trust_domain: str) -> Callers:
        """The callers of all rules of one destination."""
        services: set[Name] = set()
        namespaces: set[str] = set()
        foreign: set[str] = set()
        anyone = strangers = False
        for rule in access.rules:
            for source in rule.sources:
                if source.services or source.identities:
                    services.update(_named(source, trust_domain))
                    foreign.update(_foreign(source, trust_domain))
                elif source.namespaces:
                    namespaces.update(source.namespaces)
                else:
                    anyone = anyone or source.anyone or source.any_identity
                    strangers = strangers or source.any_identity
        cut = (parse_spiffe_id(trust_domain, identity) for identity in access.revoked)
        revoked = frozenset(name for name in cut if name is not None)
        return cls(frozenset(services), frozenset(namespaces), anyone, revoked, frozenset(foreign), strangers)

    def mean(self, identity: str, trust_domain: str) -> bool:
        """Whether some rule means a SPIFFE ID, cut off or not."""
        name = parse_spiffe_id(trust_domain, identity)
        if name is None:
            return self.strangers or identity in self.foreign
        return self.anyone or name in self.services or name.namespace in self.namespaces

    def among(self, services: Collection[Name]) -> frozenset[Name]:
        """Those of `services` that are named, and not cut off."""
        if self.anyone:
            return frozenset(services) - self.revoked
        named = self.services.intersection(services)
        if self.namespaces:
            named |= {service for service in services if service.namespace in self.namespaces}
        return named - self.revoked


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


def _foreign(source: Source, trust_domain: str) -> Iterable[str]:
    if source.services or source.namespaces or source.anyone:
        return ()
    return [identity for identity in source.identities if parse_spiffe_id(trust_domain, identity) is None]


@dataclass(frozen=True, slots=True)
class Scope:
    """Destinations by caller: services of the mesh only, and the caller itself only where a rule says so."""

    _by_service: Mapping[Name, Collection[Name]]
    _by_namespace: Mapping[str, Collection[Name]]
    _by_identity: Mapping[str, Collection[Name]]
    _open: frozenset[Name]
    _to_strangers: frozenset[Name]
    _cut: Mapping[Name, Collection[Name]]
    """By caller: where it is cut off."""

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
        by_identity: dict[str, list[Name]] = {}
        cut: dict[Name, list[Name]] = {}
        anyone: list[Name] = []
        strangers: list[Name] = []
        for destination, access in mesh.access.items():
            if destination not in mesh.services:
                continue
            callers = Callers.of(access, mesh.settings.trust_domain)
            for service in callers.services:
                by_service.setdefault(service, []).append(destination)
            for namespace in callers.namespaces:
                by_namespace.setdefault(namespace, []).append(destination)
            for identity in callers.foreign:
                by_identity.setdefault(identity, []).append(destination)
            for service in callers.revoked:
                cut.setdefault(service, []).append(destination)
            if callers.anyone:
                anyone.append(destination)
            if callers.strangers:
                strangers.append(destination)
        return cls(by_service, by_namespace, by_identity, frozenset(anyone), frozenset(strangers), cut)

    def destinations(self, caller: Name) -> tuple[Name, ...]:
        """The services that `caller`'s identity may send some request to, sorted."""
        named = self._open.union(
            self._by_service.get(caller, _NOBODY), self._by_namespace.get(caller.namespace, _NOBODY)
        )
        return tuple(sorted(named.difference(self._cut.get(caller, _NOBODY))))

    def destinations_of_stranger(self, identity: str) -> tuple[Name, ...]:
        """The same for an identity that is no service of this trust domain."""
        return tuple(sorted(self._to_strangers.union(self._by_identity.get(identity, _NOBODY))))
