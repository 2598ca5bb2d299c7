"""The shop that ships: it loads without a finding, opens no more than it says, and passes every guardrail."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policyd.base.diagnostics import Severity
from policyd.decisions import Index, Request
from policyd.guardrails.bundle import Module, shipped_bundle
from policyd.guardrails.check import check
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.intents import load
from policyd.lowering import lower
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.node import nodes
from policyd.model.scope import Scope
from policyd.source import DirectoryTree

AT = datetime(2027, 1, 1, tzinfo=UTC)
CALLS = {
    "bestsellers": [],
    "catalog": [],
    "checkout": ["inventory", "orders", "payments"],
    "inventory": [],
    "orders": ["inventory", "shipping"],
    "payments": [],
    "recommendations": ["catalog"],
    "shipping": [],
    "web": ["bestsellers", "catalog", "checkout", "recommendations"],
}


@pytest.fixture(scope="module")
def shop(repository_root: Path) -> Path:
    return repository_root / "policies"


@pytest.fixture(scope="module")
def mesh(shop: Path) -> Mesh:
    loaded = load(DirectoryTree(shop))
    lowered = lower(loaded)
    assert (*loaded.findings, *lowered.findings) == ()
    assert lowered.mesh is not None
    return lowered.mesh


def test_the_call_graph(mesh: Mesh) -> None:
    scope = Scope.of(mesh)
    assert {name.name: [to.name for to in scope.destinations(name)] for name in mesh.services} == CALLS


@pytest.mark.parametrize(
    ("source", "to", "said", "allow"),
    [
        ("checkout", "payments", "POST /v1/charges", True),
        ("web", "payments", "POST /v1/charges", False),
        ("checkout", "payments", "DELETE /v1/charges/7", False),
        ("web", "catalog", "GET /v1/products/7", True),
        ("orders", "inventory", "POST /v1/reservations", False),
    ],
)
def test_least_privilege(mesh: Mesh, source: str, to: str, said: str, allow: bool) -> None:
    method, _, path = said.partition(" ")
    identity = spiffe_id(mesh.settings.trust_domain, Name.parse(source))
    assert Index.build(mesh).decide(Request(identity, Name.parse(to), method, path), AT).allow is allow


def test_every_instance_has_a_loopback_address_of_its_own(mesh: Mesh) -> None:
    addresses = [node.endpoint.address for node in nodes(mesh)]
    assert len(set(addresses)) == len(addresses)
    assert all(address.startswith("127.0.1.") for address in addresses)


def test_each_service_has_a_file_an_owner_and_a_health_check(shop: Path, mesh: Mesh) -> None:
    assert {path.stem for path in (shop / "services").glob("*.yaml")} == {name.name for name in mesh.services}
    assert all(service.health_check is not None for service in mesh.services.values())
    assert all(document.owner for document in load(DirectoryTree(shop)).documents)


async def test_the_guardrails_have_nothing_against_it(shop: Path) -> None:
    ticket = Module("rego/pay/ticket.rego", (shop / "rego/pay/ticket.rego").read_text())
    engine = EmbeddedEngine()
    try:
        bundle = shipped_bundle().with_modules([ticket], [ticket.package])
        findings = await check(load(DirectoryTree(shop)), engine, AT, [bundle])
    finally:
        await engine.close()
    assert [str(finding) for finding in findings if finding.severity is not Severity.INFO] == []


def test_team_rules_pass_their_own_tests(shop: Path, opa_binary: Path) -> None:
    for arguments in (["check", "--strict"], ["test"]):
        done = subprocess.run([opa_binary, *arguments, shop / "rego"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
