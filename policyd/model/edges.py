"""Which edges the enforced rules allow, and by which rules: the index behind the service map.

An edge goes from a service that a rule names. A rule that lets in a namespace, or everyone, is *one* edge from `ns/*`
or `*`: the index grows with what people wrote, never with the square of the mesh. Observed rules allow nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.scope import Callers

ANYONE = "*"
"""The caller of an edge that is open to every service of the trust domain."""


def anyone_in(namespace: str) -> str:
    """The caller of an edge that is open to a namespace."""
    return f"{namespace}/*"


@dataclass(frozen=True, slots=True)
class Allowed:
    """Edges by callee: what the caller is written as (`namespace/name`, `ns/*`, `*`), and the names of the rules."""

    by_callee: Mapping[Name, Mapping[str, tuple[str, ...]]]
    _revoked: Mapping[Name, frozenset[Name]]

    @classmethod
    def of(cls, mesh: Mesh) -> Allowed:
        """The edges of `mesh`, found when first asked for and kept with it."""
        known = mesh.derived.get(cls)
        if known is None:
            known = mesh.derived[cls] = cls._build(mesh)
        return cast("Allowed", known)

    @classmethod
    def _build(cls, mesh: Mesh) -> Allowed:
        domain = mesh.settings.trust_domain
        by_callee: dict[Name, Mapping[str, tuple[str, ...]]] = {}
        revoked: dict[Name, frozenset[Name]] = {}
        for callee, access in mesh.access.items():
            if callee in mesh.services:
                by_callee[callee] = _edges(access, domain)
                revoked[callee] = Callers.of(replace(access, rules=()), domain).revoked
        return cls(by_callee, revoked)

    def rules(self, caller: Name, callee: Name) -> tuple[str, ...]:
        """The rules that let `caller` send some request to `callee`, sorted; none where it is cut off."""
        if caller in self._revoked.get(callee, ()):
            return ()
        edges = self.by_callee.get(callee, {})
        found = {rule for who in sources(caller) for rule in edges.get(who, ())}
        return tuple(sorted(found))


def sources(caller: Name) -> tuple[str, str, str]:
    """All that a rule may have written to mean `caller`."""
    return str(caller), anyone_in(caller.namespace), ANYONE


def _edges(access: Access, trust_domain: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for rule in access.enforced:
        who = Callers.of(replace(access, rules=(rule,)), trust_domain)
        named = [str(name) for name in who.services - who.revoked]
        open_to = [anyone_in(namespace) for namespace in who.namespaces] + ([ANYONE] if who.anyone else [])
        for source in (*named, *open_to):
            found.setdefault(source, []).append(str(rule.name))
    return {source: tuple(sorted(found[source])) for source in sorted(found)}
