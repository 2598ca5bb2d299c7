"""Which data planes this controller can deliver to: those whose compilers write xDS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.base.errors import UsageError
from policyd.compiler import registry
from policyd.model.mesh import DataPlane, Mesh
from policyd.model.provenance import Key, Provenance

DELIVERED = "xds"


class DataPlanes:
    """Looks each compiler up once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

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
        if plane.compiler not in self._known:
            self._known[plane.compiler] = _refusal(plane.compiler)
        return self._known[plane.compiler]


def _refusal(compiler: str) -> str:
    try:
        delivery = registry.load(compiler).capabilities.delivery
    except UsageError as error:
        return str(error)
    if delivery == DELIVERED:
        return ""
    return f"`{compiler}` writes {delivery}, which this controller does not deliver yet"
