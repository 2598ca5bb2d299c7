"""Which proxies a wave has reached: a share of each touched service, in an order that only node and change decide.

The order is a hash, so that a proxy that joins or restarts lands where it belongs, no list of members is kept, and
two changes do not always begin with the same proxies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.scope import Callers
from policyd.model.service import WHOLE
from policyd.plan.change import Change, Unit, WaveStage


def touched(change: Change, mesh: Mesh, in_flight: Iterable[Change] = ()) -> tuple[Name, ...]:
    """The services whose proxies a change concerns, sorted.

    A service: itself (not when it is removed: its proxies keep what they have until the end) and whoever may call
    it, by what is promoted or in flight. Access: the destination, and the callers that gain or lose it as a whole.
    """
    domain = mesh.settings.trust_domain
    if change.unit is Unit.SETTINGS:
        return tuple(mesh.services)
    if change.unit is Unit.ACCESS:
        base, target = (_callers(value, mesh, domain) for value in (change.base, change.target))
        if _is_external(change.name, mesh):  # its rules ride in its callers' proxies
            return tuple(sorted(base | target))
        return tuple(sorted((base ^ target) | {change.name} & mesh.services.keys()))
    values: list[object] = [mesh.access.get(change.name)]
    values += [
        v for other in in_flight if other.key == (Unit.ACCESS, change.name) for v in (other.base, other.target)
    ]
    callers = {caller for value in values for caller in _callers(value, mesh, domain)}
    own = {change.name} if change.target is not None else set()
    return tuple(sorted((callers - {change.name} | own) & mesh.services.keys()))


def _is_external(name: Name, mesh: Mesh) -> bool:
    return name in mesh.services and mesh.services[name].external is not None


def _callers(value: object, mesh: Mesh, trust_domain: str) -> frozenset[Name]:
    if not isinstance(value, Access):
        return frozenset()
    return Callers.of(value, trust_domain).among(mesh.services.keys())


def members(
    change: Change, stage: WaveStage, services: Sequence[Name], mesh: Mesh, connected: Collection[str] | None = None
) -> frozenset[str]:
    """The ids of the nodes of `services` that the stage has reached: at least one of each service that has any.

    Where `connected` is given, shares are taken of these; a service of which nobody is there counts all of its own.
    """
    reached: set[str] = set()
    for name in services:
        service = mesh.services[name]
        ids = [Node(name, version.name, one).id for version in service.versions for one in version.endpoints]
        present = ids if connected is None else [node for node in ids if node in connected]
        reached.update(_first(change.id, stage, present or ids))
    return frozenset(reached)


def _first(change_id: str, stage: WaveStage, ids: Sequence[str]) -> list[str]:
    wanted = max(1, stage.count, -(-stage.share * len(ids) // WHOLE))
    return sorted(ids, key=lambda node: _rank(change_id, node))[:wanted]


def _rank(change_id: str, node: str) -> bytes:
    return hashlib.sha256(f"{change_id}\n{node}".encode()).digest()
