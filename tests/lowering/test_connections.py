"""`tcp` services: what rules and callers say of them, and what means nothing there."""

from __future__ import annotations

import pytest

from policyd.base.diagnostics import Severity
from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered, lower
from policyd.model.access import Permit
from policyd.model.names import Name

HEAD = "apiVersion: policyd.dev/v1alpha1\nkind: "
MESH = HEAD + "Mesh\nmetadata: {name: shop}\nspec: {trustDomain: shop.example}\n"
DB, LEDGER, WEB = Name("default", "db"), Name("pay", "ledger"), Name("default", "web")


def service(name: str, address: str, said: str = "protocol: tcp, port: 5432", namespace: str = "default") -> str:
    versions = f"versions: {{v1: {{endpoints: [{address}]}}}}, version: v1"
    return f"{HEAD}Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{said}, {versions}}}\n"


def rule(to: str, allow: str = "[{connections: true}]", more: str = "", namespace: str = "default") -> str:
    said = f"to: {to}, from: [default/web], allow: {allow}{more}"
    return f"{HEAD}AccessRule\nmetadata: {{name: to-{to}, namespace: {namespace}}}\nspec: {{{said}}}\n"


def web(local_ports: str) -> str:
    return service("web", "10.0.0.1", f"port: 8080, localPorts: {{{local_ports}}}")


def lowered(**files: str) -> Lowered:
    """A mesh where `web` may connect to `db` and to `ledger` in `pay`, which listen at one port."""
    usual = {
        "mesh": MESH,
        "web": web("pay/ledger: 15432"),
        "db": service("db", "10.0.0.2"),
        "ledger": service("ledger", "10.0.0.3", namespace="pay"),
        "to-db": rule("db"),
        "to-ledger": rule("ledger", namespace="pay"),
    }
    return lower(load(MemoryTree({f"{name}.yaml": text for name, text in (usual | files).items()})))


def test_who_may_connect_and_where_a_caller_finds_it() -> None:
    mesh = lowered().mesh
    assert mesh is not None
    assert mesh.access[DB].rules[0].permits == (Permit.of_connections(),)
    assert mesh.services[WEB].local_ports == ((LEDGER, 15_432),)
    assert mesh.services[DB].resilience.timeouts.idle_ms == 3_600_000
    said = "protocol: tcp, port: 5432, resilience: {timeout: {idle: 10m}}"
    mesh = lowered(db=service("db", "10.0.0.2", said)).mesh
    assert mesh is not None
    assert mesh.services[DB].resilience.timeouts.idle_ms == 600_000


TCP = "protocol: tcp, port: 5432"
SPLIT = (
    f"{HEAD}CanarySplit\nmetadata: {{name: db}}\n"
    "spec: {service: db, first: {header: {x: y}}, steps: [100], hold: 1s}\n"
)
FOUND = [
    ({"to-web": rule("web")}, "PD1293", "`web` speaks `http`: it takes requests", "{methods: [GET]", "true"),
    ({"to-db": rule("db", "[{methods: [GET], paths: [/a]}]")}, "PD1210", "methods and paths", "connections", "{"),
    ({"to-db": rule("db", more=", jwt: {issuer: a}")}, "PD1210", "brings no token", "`from`", "jwt"),
    (
        {"web": web("")},
        "PD1295",
        "port 5432 of its loopback, and `db` is there",
        "`localPorts: {pay/ledger: 15432}`",
        "web",
    ),
    ({"web": web("pay/ledger: 15432, db: 8080")}, "PD1295", "its own application", "18080", "8080"),
    ({"web": web("pay/ledger: 15432, db: 15001")}, "PD1295", "its sidecar is there", "25001", "15001"),
    ({"web": web("pay/ledger: 15432, web: 99")}, "PD1294", "`web` speaks `http`", "only a", "web"),
    ({"web": web("pay/ledger: 15432, bd: 99")}, "PD1203", "no service `bd`", "`db`", "bd"),
    ({"db": service("db", "10.0.0.2", f"{TCP}, upgrades: [websocket]")}, "PD1296", "likes", "", "upgrades"),
    ({"db": service("db", "10.0.0.2", f"{TCP}, opaquePaths: true")}, "PD1296", "no path", "", "opaquePaths"),
    ({"db": service("db", "10.0.0.2", f"{TCP}, slo: {{latency: {{99: 1s}}}}")}, "PD1296", "no answer", "", "latency"),
    ({"split": SPLIT}, "PD1296", "brings no header", "", "first"),
]


@pytest.mark.parametrize(("files", "code", "message", "hint", "place"), FOUND)
def test_what_cannot_be_meant(files: dict[str, str], code: str, message: str, hint: str, place: str) -> None:
    found = lowered(**files)
    assert found.mesh is None
    (one,) = [each for each in found.findings if each.severity is Severity.ERROR and each.code != "PD1222"]
    assert one.code == code
    assert message in one.message
    assert hint in one.hint
    ((file, text),) = [(name, text) for name, text in files.items() if f"{name}.yaml" == one.location.path]
    said = text.splitlines()[one.location.line - 1][one.location.column - 1 :]
    assert said.startswith(place), (file, said)


@pytest.mark.parametrize(
    "said",
    ["timeout: {request: 20s}", "timeout: {perTry: 1s}", "retries: {attempts: 1, on: [reset], methods: [GET]}"],
)
def test_what_has_no_effect_is_said(said: str) -> None:
    found = lowered(db=service("db", "10.0.0.2", f"protocol: tcp, port: 5432, resilience: {{{said}}}"))
    assert found.mesh is not None
    assert "PD1296" in {each.code for each in found.findings}
