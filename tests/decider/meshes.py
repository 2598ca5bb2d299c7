"""The shop that decision servers are asked about."""

from __future__ import annotations

from typing import Any

from policyd.base.diagnostics import Location
from policyd.model.access import Rule
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.testing import build

WEB = "spiffe://test.example/ns/default/svc/web"
SAID = {
    Key("AccessRule", Name("default", "reads")): Provenance(Location("services/payments.yaml", 14, 1), "team-pay")
}
READS = build.rule("reads", ["web"], "GET /v1/charges/{id}")
WRITES = build.rule("writes", ["web"], "POST /v1/charges")


def shop(*rules: Rule) -> Mesh:
    """`web` and `payments`, and who may call `payments`."""
    services = [build.service("web", {"v1": ["10.0.0.1"]}), build.service("payments", {"v1": ["10.0.0.3"]})]
    return build.mesh(services, [build.access("payments", *rules)])


def question(said: str = "GET /v1/charges/7", *, source: str = WEB, service: str = "payments") -> dict[str, Any]:
    """The input for a request, `GET /v1/charges/7`."""
    method, _, path = said.partition(" ")
    return {"source": {"spiffe": source}, "destination": {"service": service}, "method": method, "path": path}
