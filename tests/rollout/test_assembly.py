"""Snapshots by the real compiler: whole, compiled once, and made anew only where something changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policyd.compiler import registry
from policyd.compiler.artifact import Artifact
from policyd.compiler.protocol import Compiler
from policyd.delivery.resource_types import ROUTE, SECRET
from policyd.delivery.xds.secrets import certificate_secret, svid_secret, trust_bundle_secret
from policyd.model.gateway import VERSION as EDGE_VERSION
from policyd.model.gateway import Entry, Gateway, Listener
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.route import RouteRule
from policyd.model.service import Endpoint, Protocol, Service, Split, Version
from policyd.plan.effective import Effective
from policyd.rollout.assembly import Assembly
from tests.rollout.world import CHECKOUT, WEB, mesh, service

EDGE = Name("default", "edge")


class Secrets:
    """Secrets per service, the same tuple until they are renewed."""

    def __init__(self) -> None:
        self._known: dict[Name, tuple[Artifact, ...]] = {}

    def __call__(self, name: Name) -> tuple[Artifact, ...]:
        if name not in self._known:
            self.renew(name, b"first")
        return self._known[name]

    def renew(self, name: Name, key: bytes) -> None:
        self._known[name] = (svid_secret(str(name).encode(), key), trust_bundle_secret(b"root"))


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def assembly(secrets: Secrets) -> Assembly:
    return Assembly(registry.load, secrets)


def at_rest(one: Mesh) -> Effective:
    return Effective.at_rest(one)


def test_every_snapshot_hangs_together(assembly: Assembly) -> None:
    rest = at_rest(mesh())
    found = assembly.snapshots(rest.nodes(), rest.mesh_for)
    assert len(found) == 18
    for snapshot in found.values():
        assert assembly.faults(snapshot) == ()


def test_what_did_not_change_is_the_same_snapshot_and_not_compiled_again(assembly: Assembly) -> None:
    rest = at_rest(mesh())
    before = assembly.snapshots(rest.nodes(), rest.mesh_for)
    compiled = assembly.compiled
    after = assembly.snapshots(rest.nodes(), rest.mesh_for)
    assert all(after[node] is before[node] for node in before)
    assert assembly.compiled == compiled


def test_a_changed_split_reaches_callers_only(assembly: Assembly) -> None:
    rest, moved = at_rest(mesh()), at_rest(mesh(service(CHECKOUT, "v2")))
    before = assembly.snapshots(rest.nodes(), rest.mesh_for)
    after = assembly.snapshots(moved.nodes(), moved.mesh_for)
    changed = {node for node in before if before[node].digest != after[node].digest}
    assert changed == {node for node in before if node.startswith(f"{WEB}/")}


def test_renewed_secrets_change_their_service_s_nodes_only(assembly: Assembly, secrets: Secrets) -> None:
    rest = at_rest(mesh())
    before = assembly.snapshots(rest.nodes(), rest.mesh_for)
    secrets.renew(CHECKOUT, b"second")
    after = assembly.snapshots(rest.nodes(), rest.mesh_for)
    changed = {node for node in before if before[node].digest != after[node].digest}
    assert changed == {node for node in before if node.startswith(f"{CHECKOUT}/")}


def test_a_compiler_is_looked_up_once_and_not_for_every_node(secrets: Secrets) -> None:
    asked: list[str] = []

    def compiler_of(name: str) -> Compiler:
        asked.append(name)
        return registry.load(name)

    rest = at_rest(mesh())
    Assembly(compiler_of, secrets).snapshots(rest.nodes(), rest.mesh_for)
    assert asked == ["envoy"]


def test_without_its_certificate_a_listener_is_closed(secrets: Secrets) -> None:
    listeners = (Listener(443, ("a.example",), "a"), Listener(443, ("b.example",), "b"))
    leading = Gateway(listeners, (Entry(RouteRule("r"), CHECKOUT),))
    instance = (Version(EDGE_VERSION, (Endpoint("10.9.9.9", "10.9.9.9", 0),)),)
    edge = Service(EDGE, Protocol.HTTP, 443, instance, Split.all_to(EDGE_VERSION), gateway=leading)
    rest = at_rest(replace(mesh(), services={**mesh().services, EDGE: edge}))
    held: dict[str, Artifact] = {}
    assembly = Assembly(registry.load, secrets, certificates=lambda: dict(held))
    node = f"{EDGE}/{EDGE_VERSION}/10.9.9.9"

    def found() -> tuple[set[str], set[str]]:
        snapshots = assembly.snapshots(rest.nodes(), rest.mesh_for)
        assert all(assembly.faults(each) == () for each in snapshots.values())
        others = [each for name, each in snapshots.items() if name != node]
        assert not any(name.startswith("certificate/") for each in others for name in each.of_type(SECRET))
        return {*snapshots[node].of_type(ROUTE)}, {*snapshots[node].of_type(SECRET)}

    assert found() == (set(), {"svid", "trust-bundle"})
    held["b"] = certificate_secret("b", b"chain", b"key")
    assert found() == ({"edge/default/edge/443/b.example"}, {"svid", "trust-bundle", "certificate/b"})
    before = assembly.snapshots(rest.nodes(), rest.mesh_for)
    held["b"] = certificate_secret("b", b"another", b"key")
    after = assembly.snapshots(rest.nodes(), rest.mesh_for)
    assert [name for name in before if after[name] is not before[name]] == [node]
