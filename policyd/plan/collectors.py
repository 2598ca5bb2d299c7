"""Where the collector of spans is: a fact beside decisions, from the controller's settings, never a release.

What is stored and compared holds the name alone; the address is filled in where configuration is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from policyd.model.mesh import Mesh


def reaching(mesh: Mesh, collectors: Mapping[str, str]) -> Mesh:
    """`mesh` with the address (`host:port`) of the collector that it names; the very same object without one.

    Made once for each mesh and kept with it, so that what was compiled for it is found again.
    """
    tracing = mesh.settings.tracing
    address = collectors.get(tracing.collector, "") if tracing is not None else ""
    if tracing is None or tracing.address == address:
        return mesh
    known = mesh.derived.get(reaching)
    if known is None:
        settings = replace(mesh.settings, tracing=replace(tracing, address=address))
        known = mesh.derived[reaching] = replace(mesh, settings=settings)
    return cast("Mesh", known)
