"""Expand, then contract: the barriers between two effective meshes.

    expand     callees allow what either side allows; new proxies get their configuration
    callers    every proxy gets its clusters, routes and splits of the other side
    contract   callees deny what the other side denies; proxies that are gone are let go

At each of these points a request that both sides allow is allowed everywhere, and nobody has a route to a callee
that denies him what his own side allows. An abort is the same walk with the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    pairs = {(id(a), id(b)): (a, b) for a, b in ((left.mesh_for(n), right.mesh_for(n)) for n in left.instances)}
    return all(_same_mesh(a, b) for a, b in pairs.values())


def _same_mesh(left: Mesh, right: Mesh) -> bool:
    return left is right or (
        left.settings == right.settings and left.services == right.services and left.access == right.access
    )


class _Walk:
    """Makes the intermediate steps, with one mesh for all nodes whose step is the same."""

    def __init__(self, before: Effective, after: Effective) -> None:
        self._before = before
        self._after = after
        self._old = {node.id: node for node in before.instances}
        self._new = {node.id: node for node in after.instances}
        self._open: dict[tuple[int, int, Name], Access | None] = {}
        self._made: dict[tuple[int, Name], Mesh] = {}
        self._guests: dict[tuple[int, Name], Mesh] = {}

    def expanded(self) -> Effective:
        """Everyone calls as before, and allows what either side allows; new proxies can be called."""
        calling = {node_id: self._before.mesh_for(node) for node_id, node in self._old.items()}
        return self._step(calling, self._before.common)

    def switched(self) -> Effective:
        """Everyone calls as they will, and still allows what either side allows."""
        calling = {node_id: self._after.mesh_for(node) for node_id, node in self._new.items()}
        return self._step(calling, self._after.common)

    def _step(self, calling: Mapping[str, Mesh], common: Mesh) -> Effective:
        others: dict[str, Mesh] = {}
        everyone = {**self._old, **self._new}
        for node_id, node in everyone.items():
            mesh = calling.get(node_id)
            if mesh is None:
                new = node_id in self._new
                own, host = (self._after, self._before) if new else (self._before, self._after)
                mesh = self._guest(node, own, host)
            mesh = self._opened(mesh, node)
            if mesh is not common:
                others[node_id] = mesh
        instances = self._after.instances if len(everyone) == len(self._new) else tuple(sorted(everyone.values()))
        return Effective(common, others, instances, self._after.at)

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


def union(old: Access, new: Access, at: datetime | None) -> Access:
    """All that either allows: the rules of `new`, and those of `old` that are not among them and in force at `at`.

    A rule whose content differs stands there twice, the former one under a name that ends in `~old`. A rule that
    has expired since `old` was made does not come back: the floor is no part of any walk.
    """
    rules: dict[Name, Rule] = {rule.name: rule for rule in new.rules}
    for rule in old.rules:
        if at is not None and not rule.in_force(at):
            continue
        name = rule.name
        while name in rules and not _same_content(rules[name], rule):
            name = Name(name.namespace, name.name + KEPT)
        if name not in rules:
            rules[name] = Rule(name, rule.sources, rule.permits, rule.mode, rule.expires)
    return Access(new.to, tuple(rules[name] for name in sorted(rules)))


def _same_content(left: Rule, right: Rule) -> bool:
    return (left.sources, left.permits, left.mode, left.expires) == (
        right.sources,
        right.permits,
        right.mode,
        right.expires,
    )
