"""Expand, then contract: the barriers between two effective meshes.

    expand     callees allow what either side allows, at the ports of both; new proxies get their configuration
    callers    every proxy gets its clusters, routes and splits of the other side
    contract   callees deny what the other side denies; proxies that are gone are let go

At each of these points a request that both sides allow is allowed everywhere, and nobody has a route to a callee
that denies him what his own side allows. An abort is the same walk with the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from policyd.model.access import Access, Rule
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.plan.change import Unit, Value
from policyd.plan.changes import replaced
from policyd.plan.effective import Effective

KEPT = "~old"
"""What the name of a rule ends in while its former content stands beside the new one; no intent can be named so."""


def steps(before: Effective, after: Effective) -> tuple[Effective, ...]:
    """The effective meshes to go through, one acknowledgement barrier each; the last is `after`.

    Empty where nothing changes. A barrier at which no proxy would get anything else is left out.
    """
    walk = _Walk(before, after)
    found: list[Effective] = []
    at = before
    for step in (walk.expanded(), walk.switched(), after):
        if not same(at, step):
            found.append(step)
            at = step
    if found:
        found[-1] = after
    return tuple(found)


def same(left: Effective, right: Effective) -> bool:
    """Whether every node runs the same under both. What is said about releases is no part of what a node runs."""
    if left is right:
        return True
    if left.instances != right.instances:
        return False
    apart = left.others.keys() | right.others.keys()
    pairs = [(left.others.get(node, left.common), right.others.get(node, right.common)) for node in apart]
    if len(apart) < len(left.instances):
        pairs.append((left.common, right.common))
    distinct = {(id(a), id(b)): (a, b) for a, b in pairs}
    return all(_same_mesh(a, b) for a, b in distinct.values())


def _same_mesh(left: Mesh, right: Mesh) -> bool:
    return left is right or (
        left.settings == right.settings
        and left.also_inbound == right.also_inbound
        and left.services == right.services
        and left.access == right.access
    )


class _Walk:
    """Makes the intermediate steps, with one mesh for all nodes whose step is the same."""

    def __init__(self, before: Effective, after: Effective) -> None:
        self._before = before
        self._after = after
        self._old = {node.id: node for node in before.instances}
        self._new = {node.id: node for node in after.instances}
        self._ajar = _differing_access(before, after)
        self._open: dict[tuple[int, int, Name], Access | None] = {}
        self._made: dict[tuple[int, Name], Mesh] = {}
        self._guests: dict[tuple[int, Name], Mesh] = {}
        self._listening: dict[int, Mesh] = {}

    def expanded(self) -> Effective:
        """Everyone calls as before, and allows what either side allows; new proxies can be called."""
        newcomers = {
            node_id: self._guest(node, self._after, self._before)
            for node_id, node in self._new.items()
            if node_id not in self._old
        }
        return self._step(self._before, newcomers, self._after)

    def switched(self) -> Effective:
        """Everyone calls as they will, and still allows what either side allows."""
        leavers = {
            node_id: self._guest(node, self._before, self._after)
            for node_id, node in self._old.items()
            if node_id not in self._new
        }
        return self._step(self._after, leavers, self._before)

    def _step(self, side: Effective, guests: Mapping[str, Mesh], other: Effective) -> Effective:
        everyone = {**self._old, **self._new}
        others = {**side.others, **guests}
        if self._ajar:
            for node_id, node in everyone.items():
                if node.service in self._ajar:
                    others[node_id] = self._opened(others.get(node_id, side.common), node)
        common, port = side.common, other.common.settings.inbound_port
        if port != common.settings.inbound_port:
            common = self._reached(common, port)
            others = {node_id: self._reached(mesh, port) for node_id, mesh in others.items()}
        instances = self._after.instances if len(everyone) == len(self._new) else tuple(sorted(everyone.values()))
        return Effective(common, others, instances, self._after.at)

    def _reached(self, mesh: Mesh, port: int) -> Mesh:
        """`mesh` with sidecars that can also be reached where the other side's callers look for them."""
        if id(mesh) not in self._listening:
            self._listening[id(mesh)] = replace(mesh, also_inbound=(port,))
        return self._listening[id(mesh)]

    def _guest(self, node: Node, own: Effective, host: Effective) -> Mesh:
        """What a proxy runs that only one side has, while all others run the other side: that, and its own service.

        So a newcomer can be called and calls nobody before the others do, and one that goes calls nobody longer.
        """
        mesh, name = own.mesh_for(node), node.service
        key = (id(mesh), name)
        if key not in self._guests:
            values: dict[tuple[Unit, Name], Value] = {
                (Unit.SERVICE, name): mesh.services[name],
                (Unit.ACCESS, name): mesh.access[name],
            }
            self._guests[key] = replaced(host.common, values)
        return self._guests[key]

    def _opened(self, mesh: Mesh, node: Node) -> Mesh:
        """`mesh` with the node's own access as wide as either side has it."""
        wide = self._wide(node)
        if wide is None or node.service not in mesh.services or mesh.access.get(node.service) == wide:
            return mesh
        key = (id(mesh), node.service)
        if key not in self._made:
            self._made[key] = replaced(mesh, {(Unit.ACCESS, node.service): wide})
        return self._made[key]

    def _wide(self, node: Node) -> Access | None:
        """What either side allows to the node's service; `None` where both allow the same."""
        before = self._before.mesh_for(node) if node.id in self._old else self._before.common
        after = self._after.mesh_for(node) if node.id in self._new else self._after.common
        key = (id(before), id(after), node.service)
        if key not in self._open:
            old, new = before.access.get(node.service), after.access.get(node.service)
            if old is None or new is None or old.digest == new.digest:
                self._open[key] = None
            else:
                self._open[key] = union(old, new, self._after.at)
        return self._open[key]


def _differing_access(before: Effective, after: Effective) -> frozenset[Name]:
    """The services whose access is not the same in every mesh of both sides."""
    meshes = {id(mesh): mesh for side in (before, after) for mesh in (side.common, *side.others.values())}
    found: set[Name] = set()
    reference = before.common.access
    for mesh in meshes.values():
        if mesh.access is not reference:
            found.update(name for name, access in mesh.access.items() if access is not reference.get(name))
            found.update(reference.keys() - mesh.access.keys())
    return frozenset(found)


def union(old: Access, new: Access, at: datetime | None) -> Access:
    """All that either allows: the rules of `new`, and those of `old` that are not among them and in force at `at`.

    A rule that was narrowed or widened stands there once, with the wider content: so the narrower side needs no
    barrier of its own. Where neither content covers the other it stands there twice, the former one under a name
    that ends in `~old`. A rule that has expired since `old` was made does not come back, and who is cut off on either
    side is cut off: the floor is no part of any walk.
    """
    rules: dict[Name, Rule] = {rule.name: rule for rule in new.rules}
    for rule in old.rules:
        if at is not None and not rule.in_force(at):
            continue
        name = rule.name
        while name in rules and not rules[name].covers(rule) and not rule.covers(rules[name]):
            name = Name(name.namespace, name.name + KEPT)
        if name not in rules or not rules[name].covers(rule):
            rules[name] = replace(rule, name=name)
    revoked = tuple(sorted({*old.revoked, *new.revoked}))
    return Access(new.to, tuple(rules[name] for name in sorted(rules)), revoked)
