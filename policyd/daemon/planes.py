"""The data planes of a mesh as a controller sees them: whose compilers are installed, and which it can deliver to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.base.errors import UsageError
from policyd.compiler import registry
from policyd.compiler.protocol import Compiler
from policyd.model.mesh import DataPlane, Mesh
from policyd.model.provenance import Key, Provenance

DELIVERED = "xds"


class DataPlanes:
    """Looks each compiler up once, by `load`."""

    def __init__(self, load: Callable[[str], Compiler] = registry.load) -> None:
        self._load = load
        self._known: dict[str, Compiler | str] = {}

    def compilers(self, mesh: Mesh) -> tuple[Compiler, ...]:
        """Those of the mesh's data planes; one that is not installed is a finding."""
        found = {plane.compiler: self._compiler(plane) for plane in mesh.settings.data_planes}
        return tuple(compiler for compiler in found.values() if not isinstance(compiler, str))

    def findings(self, mesh: Mesh, provenance: Mapping[Key, Provenance]) -> Iterator[Finding]:
        """An error for each data plane that no proxy would ever get, at the `Mesh` that asks for it."""
        place = next((known.location for key, known in provenance.items() if key.kind == "Mesh"), Location("."))
        for plane in mesh.settings.data_planes:
            reason = self._refusal(plane)
            if reason:
                yield Finding(
                    "PD3102",
                    Severity.ERROR,
                    f"the data plane `{plane.name}` cannot be run: {reason}",
                    place,
                    hint="`policyd run` serves Envoys; for others there are `policyd compile`, `check` and `diff`",
                )

    def _refusal(self, plane: DataPlane) -> str:
        compiler = self._compiler(plane)
        if isinstance(compiler, str):
            return compiler
        delivery = compiler.capabilities.delivery
        if delivery == DELIVERED:
            return ""
        return f"`{plane.compiler}` writes {delivery}, which this controller does not deliver yet"

    def _compiler(self, plane: DataPlane) -> Compiler | str:
        """The compiler, or why there is none."""
        known = self._known.get(plane.compiler)
        if known is None:
            try:
                known = self._load(plane.compiler)
            except UsageError as error:
                known = str(error)
            self._known[plane.compiler] = known
        return known
