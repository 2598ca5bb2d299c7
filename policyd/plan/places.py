"""How what Git names is reached: facts beside decisions, from the controller's settings, never a release.

What is stored and compared holds names alone; addresses and files are filled in where configuration is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Service
from policyd.model.tracing import Collector


@dataclass(frozen=True, slots=True)
class Places:
    """`collectors`: where spans go; `roots`: files on the proxies' machines. Both by name.

    `certificates` are those that are to be had for gateways, by name; `None` where nobody has looked.
    """

    collectors: Mapping[str, Collector] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    certificates: frozenset[str] | None = None


def reaching(mesh: Mesh, places: Places) -> Mesh:
    """`mesh` with where its collector and the roots of external hosts are, and the certificates that it lacks.

    The very same object where it needs none of it.

    Made once for each mesh and kept with it, so that what was compiled for it is found again.
    """
    known = cast("tuple[Places, Mesh] | None", mesh.derived.get(reaching))
    if known is None or known[0] != places:
        known = (places, _reaching(mesh, places))
        mesh.derived[reaching] = known
    return known[1]


def _reaching(mesh: Mesh, places: Places) -> Mesh:
    tracing = mesh.settings.tracing
    if tracing is not None:
        tracing = replace(tracing, at=places.collectors.get(tracing.collector))
    needed = {each.external.roots for each in mesh.services.values() if each.external is not None}
    if tracing is not None and tracing.at is not None:
        needed.add(tracing.at.roots)
    roots = tuple(sorted((name, file) for name, file in places.roots.items() if name in needed))
    settings, services = mesh.settings, {**mesh.services, **_closed(mesh, places.certificates)}
    if tracing != settings.tracing or roots != settings.roots:
        settings = replace(settings, tracing=tracing, roots=roots)
    if settings is mesh.settings and all(services[name] is each for name, each in mesh.services.items()):
        return mesh
    return replace(mesh, settings=settings, services=services)


def _closed(mesh: Mesh, known: frozenset[str] | None) -> Mapping[Name, Service]:
    """The gateways that lack a certificate, knowing which."""
    found: dict[Name, Service] = {}
    for name, service in mesh.services.items() if known is not None else ():
        assert known is not None
        if (gateway := service.gateway) is not None:
            missing = tuple(each for each in gateway.certificates if each not in known)
            if missing != gateway.missing:
                found[name] = replace(service, gateway=replace(gateway, missing=missing))
    return found
