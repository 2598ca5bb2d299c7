"""Facts beside decisions: which versions have instances, and where, is what the head of Git (later: the agents) says.

Facts hold at once and are never rolled out. So services are compared without their versions, and whatever is
promoted or in flight is shown with the instances of now. Only a version that a split still sends requests to is
kept after the head has dropped it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from policyd.model.mesh import Mesh, Settings
from policyd.model.service import Service, Version


def same_decision(left: Service, right: Service) -> bool:
    """Whether two services differ in nothing but their versions and instances."""
    if left is right or left.digest == right.digest:
        return True
    return replace(left, versions=right.versions) == right


def live(service: Service, *facts: Service | None) -> Service:
    """`service` with the versions of the first of `facts` that is there, and each that its split or route names.

    The versions that are missing there come from `service` itself, then from the other `facts`. The very same
    object where nothing differs.
    """
    known = next((fact for fact in facts if fact is not None), service)
    if known is service:
        return service
    versions = known.versions
    missing = [name for name in service.named_versions if known.version(name) is None]
    if missing:
        kept = [_kept(name, (service, *facts)) for name in missing]
        versions = tuple(sorted((*versions, *kept), key=lambda version: version.name))
    return service if versions == service.versions else replace(service, versions=versions)


def _kept(name: str, candidates: tuple[Service | None, ...]) -> Version:
    found = (candidate.version(name) for candidate in candidates if candidate is not None)
    return next((version for version in found if version is not None), Version(name))


def with_keys(settings: Settings, keys: Mapping[str, str]) -> Settings:
    """The settings with the fetched keys (by URL) of those issuers whose keys do not stand in Git.

    The very same object where nothing differs. Which keys are good now is a fact too, never a release.
    """
    issuers = tuple(
        replace(issuer, keys=keys.get(issuer.keys_url, "")) if issuer.keys_url else issuer
        for issuer in settings.issuers
    )
    return settings if issuers == settings.issuers else replace(settings, issuers=issuers)


def refreshed(promoted: Mesh, head: Mesh) -> Mesh:
    """The promoted mesh with the instances of the head; the same object where nothing differs."""
    moved = {}
    for name, service in promoted.services.items():
        now = live(service, head.services.get(name))
        if now is not service:
            moved[name] = now
    if not moved:
        return promoted
    return replace(promoted, services={**promoted.services, **moved})
