"""What a service's sidecars are compiled from, and nothing else: found once for each mesh, named by content.

    mesh -> Index.of(mesh)[service] -> Sources -> compiler

Whoever compiles from `Sources` alone can use `key` for his memo: two equal keys give equal configuration.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import cast

from policyd.model.access import Access
from policyd.model.failover import Fallback
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.scope import Scope
from policyd.model.service import Protocol, Service
from policyd.model.standby import Standby


@dataclass(frozen=True, slots=True)
class Outside:
    """An external host that the service may call, and the rules that its own sidecars judge such calls by."""

    service: Service
    access: Access


@dataclass(frozen=True, slots=True)
class Sources:
    """The values that a service's share is compiled from, and nothing else; `key` names them all by content."""

    settings: Settings
    service: Service
    access: Access
    scope: tuple[Service, ...]
    """Every service that this one may call by some rule, enforced or observed."""
    also_inbound: tuple[int, ...]
    """Ports that take calls beside the one of the settings, while that one changes."""
    key: Hashable
    fallbacks: Mapping[Name, tuple[Fallback, ...]] = field(default_factory=dict)
    """Where calls to a destination go on while it is down, as far as this service may be led there; `scope` holds the
    services."""
    outside: tuple[Outside, ...] = ()
    """The external hosts in `scope`."""

    @property
    def inbound_ports(self) -> tuple[int, ...]:
        """Every port where callers may look for a sidecar of the service now."""
        return (self.settings.inbound_port, *self.also_inbound)

    @property
    def inside(self) -> tuple[Service, ...]:
        """The destinations in the mesh that sidecars carry; of a gateway, where its routes lead."""
        led = self._led_to()
        return tuple(
            each
            for each in self.scope
            if each.external is None and each.gateway is None and (led is None or each.name in led)
        )

    @property
    def requested(self) -> tuple[Service, ...]:
        """Those that take requests, which every sidecar carries; a `tcp` service takes connections."""
        return tuple(each for each in self.inside if each.protocol is not Protocol.TCP)

    def _led_to(self) -> set[Name] | None:
        """Where the routes of a gateway lead, and on from there; `None` for a service."""
        if self.service.gateway is None:
            return None
        named = set(self.service.gateway.services)
        on = {each.service for name in named for each in self.fallbacks.get(name, ()) if each.service is not None}
        return named | on


class Index(dict[Name, Sources]):
    """The sources of every service of one mesh, found when first asked for and kept with that mesh."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__()
        self._mesh = mesh
        self._scope = Scope.of(mesh)

    @classmethod
    def of(cls, mesh: Mesh) -> Index:
        """The index of `mesh`."""
        known = mesh.derived.get(cls)
        if known is None:
            known = mesh.derived[cls] = cls(mesh)
        return cast("Index", known)

    def __missing__(self, name: Name) -> Sources:
        mesh = self._mesh
        settings, service, access = mesh.settings, mesh.services[name], mesh.access.get(name) or Access(name)
        scope = tuple([mesh.services[destination] for destination in self._scope.destinations(name)])
        also = mesh.also_inbound
        standby = Standby.of(mesh)
        fallbacks = {each.name: usable for each in scope if (usable := standby.usable(name, each))}
        outside = tuple(Outside(each, mesh.access[each.name]) for each in scope if each.external is not None)
        key = (settings.digest, also, service.digest, access.digest, *[each.digest for each in scope])
        judged = tuple(each.access.digest for each in outside)
        found = self[name] = Sources(
            settings, service, access, scope, also, (key, tuple(fallbacks.items()), judged), fallbacks, outside
        )
        return found
