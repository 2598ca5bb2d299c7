"""How what Git names is reached: facts beside decisions, from the controller's settings, never a release.

What is stored and compared holds names alone; addresses and files are filled in where configuration is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from policyd.model.mesh import Mesh


@dataclass(frozen=True, slots=True)
class Places:
    """`collectors`: where spans go (`host:port`); `roots`: files on the proxies' machines. Both by name."""

    collectors: Mapping[str, str] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)


def reaching(mesh: Mesh, places: Places) -> Mesh:
    """`mesh` with where its collector and the roots of external hosts are; the very same object where it needs none.

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
        tracing = replace(tracing, address=places.collectors.get(tracing.collector, ""))
    needed = {each.external.roots for each in mesh.services.values() if each.external is not None}
    roots = tuple(sorted((name, file) for name, file in places.roots.items() if name in needed))
    if tracing == mesh.settings.tracing and roots == mesh.settings.roots:
        return mesh
    return replace(mesh, settings=replace(mesh.settings, tracing=tracing, roots=roots))
