"""Whom a fallback is for: a caller is led to another service only by a rule of his own that lets him call it.

Naming a fallback opens nothing. An observed rule does not count: the fallback would deny him, and a denial is a worse
answer than that the service is down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from policyd.model.failover import Fallback
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.scope import Callers
from policyd.model.service import Service


@dataclass(frozen=True, slots=True)
class Standby:
    """Of one mesh: which of its fallbacks a caller of a service can be led to. Looks only at what is named as one."""

    _mesh: Mesh
    _callers: dict[Name, frozenset[Name]] = field(default_factory=dict)

    @classmethod
    def of(cls, mesh: Mesh) -> Standby:
        """That of `mesh`, kept with it."""
        known = mesh.derived.get(cls)
        if known is None:
            known = mesh.derived[cls] = cls(mesh)
        return cast("Standby", known)

    def usable(self, caller: Name, service: Service) -> tuple[Fallback, ...]:
        """The fallbacks of `service` that `caller` may be led to, in their order."""
        return tuple(
            each for each in service.failover if each.service is None or self._leads(caller, service, each.service)
        )

    def callers(self, service: Name) -> frozenset[Name]:
        """The services of the mesh that some enforced rule lets call `service`."""
        known = self._callers.get(service)
        if known is None:
            access = self._mesh.access.get(service)
            found: frozenset[Name] = frozenset()
            if access is not None:
                decided = Callers.of(replace(access, rules=access.enforced), self._mesh.settings.trust_domain)
                found = decided.among(self._mesh.services.keys())
            known = self._callers[service] = found
        return known

    def _leads(self, caller: Name, service: Service, to: Name) -> bool:
        """While changes are on their way a name may have no service yet, or one that speaks something else."""
        there = self._mesh.services.get(to)
        if there is None or there.protocol is not service.protocol:
            return False
        return to != service.name and caller in self.callers(to)
