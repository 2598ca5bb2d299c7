"""The floor: expired rules and revocations are taken out of everything that is served, whatever else is in flight.

It holds for every node at once and only ever narrows: going back never opens again what has been closed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from policyd.model.access import Access
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name, parse_spiffe_id
from policyd.model.revocation import Revocation
from policyd.model.scope import Callers, Scope

NOTHING_ENDED = datetime.min.replace(tzinfo=UTC)
"""The instant of a floor that is about revocations alone."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What is closed: rules that have ended at `at`, everyone who is cut off (by name), and distrusted roots."""

    at: datetime
    cuts: tuple[Revocation, ...] = ()
    distrusted: tuple[str, ...] = ()
    """Roots that proxies were given and trust no more, as `model.mesh.Settings` has them."""


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


def subtracted(mesh: Mesh, floor: Floor) -> Mesh:
    """`mesh` without what the floor takes out of it; the same object where that is nothing."""
    expiries = Expiries.of(mesh)
    touched = set(expiries.destinations[: bisect_right(expiries.instants, floor.at)])
    for cut in floor.cuts:
        touched.update(_reach(mesh, cut))
    domain = mesh.settings.trust_domain
    narrowed = {name: narrow(mesh.access[name], floor, domain) for name in touched}
    settings = distrusting(mesh.settings, floor)
    if settings is mesh.settings and all(access is mesh.access[name] for name, access in narrowed.items()):
        return mesh
    return replace(mesh, settings=settings, access={**mesh.access, **narrowed})


def distrusting(settings: Settings, floor: Floor) -> Settings:
    """`settings` with the roots that the floor distrusts; the same object where it distrusts none besides."""
    distrusted = tuple(sorted({*settings.distrusted, *floor.distrusted}))
    return settings if distrusted == settings.distrusted else replace(settings, distrusted=distrusted)


def without_own_cuts(mesh: Mesh) -> Mesh:
    """`mesh` without who its own revocations cut off: what it says, whoever else is cut off and whatever ends."""
    return subtracted(mesh, Floor(NOTHING_ENDED, tuple(mesh.revocations.values())))


def narrow(access: Access, floor: Floor, trust_domain: str) -> Access:
    """`access` without expired rules, and closed to whom it would let in and is cut off; the same object if neither.

    Only those are named as revoked whom some rule means: one who may not call anyway changes nobody's configuration.
    """
    kept = tuple(rule for rule in access.rules if rule.in_force(floor.at))
    revoked = set(access.revoked)
    callers = Callers.of(access, trust_domain) if floor.cuts else None
    for cut in floor.cuts:
        identity = cut.cuts(access.to)
        if identity and callers is not None and callers.mean(identity, trust_domain):
            revoked.add(identity)
    if len(kept) == len(access.rules) and len(revoked) == len(access.revoked):
        return access
    return Access(access.to, kept, tuple(sorted(revoked)))


def _reach(mesh: Mesh, cut: Revocation) -> tuple[Name, ...]:
    """The destinations that the one who is cut off could call, as far as the cut goes."""
    if not cut.identity:
        return ()
    caller = parse_spiffe_id(mesh.settings.trust_domain, cut.identity)
    scope = Scope.of(mesh)
    reached = scope.destinations(caller) if caller is not None else scope.destinations_of_stranger(cut.identity)
    return reached if cut.to is None else tuple(name for name in reached if name == cut.to)
