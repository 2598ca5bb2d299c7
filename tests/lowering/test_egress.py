"""`Egress`: what it becomes, and what is said of a host that is none, is taken, or is treated as a service."""

from __future__ import annotations

import pytest

from policyd.base.diagnostics import Severity
from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered, lower
from policyd.model.external import External
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.provenance import Key
from policyd.model.service import Protocol
from tests.lowering.test_failover import MESH, rule, service

EGRESS = """\
apiVersion: policyd.dev/v1alpha1
kind: Egress
metadata: {{name: {name}}}
spec: {{{spec}}}
"""
CARDS = Name("default", "cards")


def egress(spec: str, name: str = "cards") -> str:
    return EGRESS.format(name=name, spec=spec)


def lowered(*documents: str) -> Lowered:
    files = {"mesh.yaml": MESH, "web.yaml": service("web", "10.0.2.1"), "more.yaml": "---\n".join(documents)}
    return lower(load(MemoryTree({path: text.encode() for path, text in files.items()})))


def test_it_becomes_a_destination_without_instances() -> None:
    where = "host: api.cards.example, port: 8443, addresses: [192.0.2.9, 192.0.2.8]"
    spec = f"{where}, protocol: grpc, tls: {{roots: partner}}"
    done = lowered(egress(spec), rule("cards"))
    assert done.findings == ()
    assert done.mesh is not None
    cards = done.mesh.services[CARDS]
    assert (cards.port, cards.protocol) == (8443, Protocol.GRPC)
    assert cards.external == External("api.cards.example", "partner", ("192.0.2.8", "192.0.2.9"))
    assert [node.service.name for node in nodes(done.mesh)] == ["web"]
    assert [each.name.name for each in done.mesh.access[CARDS].rules] == ["to-cards"]
    assert done.provenance[Key("Service", CARDS)].location.path == "more.yaml"


@pytest.mark.parametrize(("spec", "roots"), [("host: a.example", "system"), ("host: a.example, plaintext: true", "")])
def test_in_the_clear_is_said(spec: str, roots: str) -> None:
    done = lowered(egress(spec))
    assert done.mesh is not None
    assert done.mesh.services[CARDS].external == External("a.example", roots)


ROUTE = (
    "apiVersion: policyd.dev/v1alpha1\nkind: Route\nmetadata: {{name: {to}}}\n"
    "spec: {{to: {to}, rules: [{{name: a, {rule}}}]}}\n"
)
SPLIT = (
    "apiVersion: policyd.dev/v1alpha1\nkind: CanarySplit\nmetadata: {name: cards}\n"
    "spec: {service: cards, steps: [100], hold: 1s}\n"
)
GOOD = egress("host: api.cards.example")
RULE = (
    "apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {{name: r}}\n"
    "spec: {{to: {to}, from: [{source}], allow: [{{methods: [GET], paths: [/a]}}]{more}}}\n"
)


@pytest.mark.parametrize(
    ("documents", "code", "words"),
    [
        ((egress("host: localhost"),), "PD1281", "`localhost` is not the name of a host"),
        ((egress("host: pay.localhost"),), "PD1281", "`pay.localhost` is not the name of a host"),
        ((egress('host: "*.cards.example"'),), "PD1281", "is not the name of a host"),
        ((egress("host: 10.0.0.1"),), "PD1281", "is not the name of a host"),
        ((egress("host: API.cards.example"),), "PD1281", "is not the name of a host"),
        ((egress("host: api.cards.example:443"),), "PD1281", "is not the name of a host"),
        ((egress("host: web.default"),), "PD1280", "`web.default` is not outside of the mesh"),
        ((egress("host: pay.x.shop.example"),), "PD1280", "is not outside of the mesh"),
        ((egress("host: a.example, addresses: [127.0.0.1]"),), "PD1282", "`127.0.0.1` is not outside"),
        ((egress("host: a.example, addresses: [169.254.169.254]"),), "PD1282", "is not outside of the mesh"),
        ((egress('host: a.example, addresses: ["::ffff:127.0.0.1"]'),), "PD1282", "`127.0.0.1` is not outside"),
        ((egress('host: a.example, addresses: ["::ffff:a9fe:a9fe"]'),), "PD1282", "`169.254.169.254` is not outside"),
        ((egress("host: a.example, addresses: [here]"),), "PD1109", "`here` is not an address"),
        ((egress("host: a.example, plaintext: true, tls: {roots: x}"),), "PD1104", "exclude each other"),
        ((egress("host: a.example", "web"),), "PD1280", "`web` is already a service"),
        ((GOOD, egress("host: api.cards.example", "more")), "PD1280", "is already the host of `cards`"),
        ((GOOD, RULE.format(to="cards", source="{ipBlock: 10.0.0.0/8}", more="")), "PD1283", "addresses"),
        ((GOOD, RULE.format(to="web", source="cards", more="")), "PD1284", "calls nobody in the mesh"),
        ((GOOD, SPLIT), "PD1284", "has no versions"),
        ((GOOD, ROUTE.format(to="cards", rule="split: {version: external}")), "PD1284", "takes no routes"),
        ((GOOD, ROUTE.format(to="web", rule="split: {service: cards}")), "PD1284", "is no way of a route"),
        ((GOOD, service("pay", "10.0.9.1", ", failover: [{service: cards}]")), "PD1284", "is no fallback"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(documents: tuple[str, ...], code: str, words: str) -> None:
    done = lowered(*documents)
    said = [finding for finding in done.findings if finding.code == code]
    assert [finding.severity for finding in said] == [Severity.ERROR]
    assert words in said[0].message
    assert said[0].hint
    assert done.mesh is None
