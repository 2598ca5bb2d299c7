"""The floor: expired rules are taken out of everything that is served, whatever else is in flight.

It holds for every node at once and only ever narrows: going back never opens again what has been closed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from policyd.model.access import Access
from policyd.model.mesh import Mesh
from policyd.model.names import Name


@dataclass(frozen=True, slots=True)
class Expiries:
    """When which destination loses a rule, in order of time."""

    instants: Sequence[datetime]
    destinations: Sequence[Name]

    @classmethod
    def of(cls, mesh: Mesh) -> Expiries:
        """The expiries of `mesh`, gathered when first asked for and kept with it."""
        known = mesh.derived.get(cls)
        if known is None:
            found = [
                (rule.expires, access.to)
                for access in mesh.access.values()
                for rule in access.rules
                if rule.expires is not None
            ]
            found.sort()
            known = cls([instant for instant, _ in found], [name for _, name in found])
            mesh.derived[cls] = known
        return cast("Expiries", known)


def next_expiry(mesh: Mesh, at: datetime) -> datetime | None:
    """The first instant after `at` at which a rule of `mesh` ends; `None` if none ever does."""
    instants = Expiries.of(mesh).instants
    following = bisect_right(instants, at)
    return instants[following] if following < len(instants) else None


def last_expiry(mesh: Mesh, at: datetime) -> datetime | None:
    """The last instant up to `at` at which a rule of `mesh` ended; `None` if none has."""
    instants = Expiries.of(mesh).instants
    past = bisect_right(instants, at)
    return instants[past - 1] if past else None


def subtracted(mesh: Mesh, at: datetime) -> Mesh:
    """`mesh` without the rules that have expired at `at`; the same object where none has."""
    expiries = Expiries.of(mesh)
    past = expiries.destinations[: bisect_right(expiries.instants, at)]
    if not past:
        return mesh
    narrowed = {name: without_expired(mesh.access[name], at) for name in past}
    return replace(mesh, access={**mesh.access, **narrowed})


def without_expired(access: Access, at: datetime) -> Access:
    """`access` without the rules that have expired at `at`; the same object where none has."""
    kept = tuple(rule for rule in access.rules if rule.in_force(at))
    return access if len(kept) == len(access.rules) else Access(access.to, kept)
