"""`Gateway`: what it becomes, and what is said of listeners, routes and names that cannot be."""

from __future__ import annotations

import pytest

from policyd.base.diagnostics import Severity
from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered, lower
from policyd.model.gateway import VERSION, Gateway, Listener
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.paths import PathPattern
from policyd.model.provenance import Key
from policyd.model.route import Match, Request
from policyd.model.route_actions import Redirect, Rewrite
from tests.lowering.test_failover import MESH, rule, service

GATEWAY = """\
apiVersion: policyd.dev/v1alpha1
kind: Gateway
metadata: {{name: {name}}}
spec:
  endpoints: [{address}]
  listeners: [{listeners}]
  routes: [{routes}]
{more}
"""
EDGE = Name("default", "edge")
TLS = "{port: 443, hosts: shop.example, tls: {certificate: shop}}"
ROUTE = "{to: pay}"
LET = rule("pay", callers="[edge]", paths="[/**]")


def gateway(
    listeners: str = TLS, routes: str = ROUTE, more: str = "", name: str = "edge", address: str = "10.0.9.1"
) -> str:
    more = "".join(f"  {line}\n" for line in more.splitlines())
    return GATEWAY.format(name=name, address=address, listeners=listeners, routes=routes, more=more)


def lowered(*documents: str) -> Lowered:
    files = {"mesh.yaml": MESH, "pay.yaml": service("pay", "10.0.2.1"), "more.yaml": "---\n".join(documents)}
    return lower(load(MemoryTree({path: text.encode() for path, text in files.items()})))


def test_it_becomes_a_caller_with_instances_that_nobody_calls() -> None:
    moved = "{match: {paths: [/old]}, redirect: {path: /new}}"
    api = "{name: api, match: {paths: [/api/**]}, to: pay, rewrite: {path: /v1}, public: true}"
    plain = "{port: 80, hosts: [shop.example]}"
    more = "trustedHops: 2\nallowFrom: [10.0.0.0/8]\nhsts: 2h"
    done = lowered(gateway(f"{TLS}, {plain}", f"{moved}, {api}", more, address="{address: 10.0.9.1, zone: b}"), LET)
    assert done.findings == ()
    assert done.mesh is not None
    edge = done.mesh.services[EDGE]
    assert [(node.id, node.endpoint.zone) for node in nodes(done.mesh) if node.service == EDGE] == [
        (f"default/edge/{VERSION}/10.0.9.1", "b")
    ]
    found = edge.gateway
    assert found is not None
    assert found.listeners == (Listener(80, ("shop.example",)), Listener(443, ("shop.example",), "shop"))
    assert (found.trusted_hops, found.allow_from, found.hsts_s) == (2, ("10.0.0.0/8",), 7_200)
    first, second = found.entries
    assert (first.rule.name, first.to, first.rule.redirect) == ("rule-1", None, Redirect(302, path="/new"))
    assert (second.rule.match, second.to) == (Match(paths=(PathPattern.parse("/api/**"),)), Name("default", "pay"))
    assert (second.rule.rewrite, second.public) == (Rewrite("/v1"), True)
    assert done.provenance[Key("Service", EDGE)].location.path == "more.yaml"
    assert done.mesh.access[EDGE].rules == ()


def test_who_is_meant_is_who_means_it_most_closely() -> None:
    wide, admin = (
        Listener(443, ("*.shop.example", "shop.example"), "shop"),
        Listener(443, ("a.shop.example",), "admin"),
    )
    deep, plain = Listener(443, ("*.b.shop.example",), "deep"), Listener(80, ("shop.example",))
    edge = Gateway((plain, wide, admin, deep), ())
    for host, meant in {
        "shop.example": wide,
        "www.shop.example": wide,
        "a.shop.example": admin,
        "x.a.shop.example": wide,
        "x.b.shop.example": deep,
        "b.shop.example": wide,
        "evilshop.example": None,
        "example": None,
    }.items():
        assert edge.listener(443, host) is meant, host
    assert edge.secured("shop.example") is wide
    assert edge.secured("evil.example") is None


def test_the_first_route_that_means_a_request_takes_it() -> None:
    done = lowered(gateway(routes="{match: {paths: [/a]}, to: pay}, {match: {methods: [GET]}, to: pay}"), LET)
    assert done.mesh is not None
    edge = done.mesh.services[EDGE].gateway
    assert edge is not None
    assert edge.entry(Request("GET", "/a?x")) is edge.entries[0]
    assert edge.entry(Request("GET", "/b")) is edge.entries[1]
    assert edge.entry(Request("POST", "/b")) is None


KINDS = "apiVersion: policyd.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: pay}}\nspec: {{{spec}}}\n"
GOOD = gateway()
WIDE = "{to: pay}, {match: {paths: [/a]}, to: pay}"
TWICE = "{name: a, match: {paths: [/a]}, to: pay}, {name: a, to: pay}"
OUT = "apiVersion: policyd.dev/v1alpha1\nkind: Egress\nmetadata: {name: out}\nspec: {host: a.example}\n"
TCP = (
    "apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {name: db}\n"
    "spec: {port: 5432, protocol: tcp, versions: {v1: {endpoints: [10.0.7.1]}}, version: v1}\n"
)


@pytest.mark.parametrize(
    ("documents", "code", "words"),
    [
        ((gateway("{port: 443, hosts: '*', tls: {certificate: a}}"),), "PD1292", "`*` is not a host"),
        ((gateway("{port: 443, hosts: 10.0.0.1, tls: {certificate: a}}"),), "PD1292", "`10.0.0.1` is not a host"),
        ((gateway("{port: 443, hosts: 'a.example:443', tls: {certificate: a}}"),), "PD1292", "is not a host"),
        ((gateway("{port: 443, hosts: a.example, plaintext: true, tls: {certificate: a}}"),), "PD1104", "exclude"),
        ((gateway(routes="{to: pay, redirect: {path: /a}}"),), "PD1104", "or is a `redirect`"),
        ((gateway(routes="{redirect: {path: /a}, rewrite: {path: /b}}"),), "PD1104", "arrives nowhere"),
        ((gateway(name="pay"),), "PD1285", "`pay` is already called so"),
        ((gateway(address="10.0.2.1"),), "PD1285", "`10.0.2.1` is already an instance of `pay`"),
        ((gateway(address="10.0.9.1, 10.0.9.1"),), "PD1285", "`10.0.9.1` is already an instance of `edge`"),
        ((GOOD, gateway(name="more")), "PD1285", "`10.0.9.1` is already an instance of `edge`"),
        ((gateway(f"{TLS}, {TLS}"),), "PD1286", "`shop.example` at port 443 already has a listener"),
        ((gateway(f"{TLS}, {{port: 443, hosts: b.example, plaintext: true}}"),), "PD1286", "cannot speak TLS"),
        ((GOOD, rule("edge", callers="[pay]")), "PD1287", "which nobody calls from inside"),
        ((GOOD, KINDS.format(kind="CanarySplit", spec="service: edge, steps: [100], hold: 1s")), "PD1287", "nobody"),
        ((GOOD, KINDS.format(kind="Route", spec="to: pay, rules: [{split: {service: edge}}]")), "PD1287", "nobody"),
        ((GOOD, service("web", "10.0.8.1", ", failover: [{service: edge}]")), "PD1287", "nobody"),
        ((gateway(routes="{to: edge}"),), "PD1287", "is a gateway"),
        ((OUT, gateway(routes="{to: out}")), "PD1287", "is an external host"),
        ((TCP, gateway(routes="{to: db}")), "PD1287", "speaks `tcp`"),
        ((gateway(routes="{to: pya}"),), "PD1203", "there is no service `pya`"),
        ((gateway(routes="{match: {hosts: [b.example]}, to: pay}"),), "PD1289", "no listener takes requests for"),
        ((gateway(routes=WIDE),), "PD1251", "no request gets to `rule-2`"),
        ((gateway(routes=TWICE),), "PD1263", "two routes are called `a`"),
        ((gateway(routes="{match: {headers: {x-envoy-a: b}}, to: pay}"),), "PD1259", "the header `x-envoy-a`"),
        ((gateway(routes="{match: {paths: ['/{a}/**']}, to: pay, rewrite: {path: /b}}"),), "PD1265", "be told"),
        ((gateway(f"{TLS}, {{port: 80, hosts: b.example}}"),), "PD1290", "which is nowhere"),
        ((gateway("{port: 80, hosts: b.example, plaintext: true}", more="hsts: 1y"),), "PD1290", "no listener"),
        ((gateway(more="jwt: {issuer: login}"),), "PD1222", "the mesh has no issuer `login`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(documents: tuple[str, ...], code: str, words: str) -> None:
    done = lowered(*documents)
    said = [finding for finding in done.findings if finding.code == code]
    assert [finding.severity for finding in said] == [Severity.ERROR], done.findings
    assert words in said[0].message
    assert done.mesh is None


ROUTED = KINDS.format(kind="Route", spec="to: pay, rules: [{match: {paths: [/x]}, redirect: {path: /y}}]")


@pytest.mark.parametrize(
    ("documents", "code", "words"),
    [
        ((GOOD,), "PD1288", "no rule of `pay` lets `edge` in: what goes there is answered 403"),
        ((GOOD, rule("pay", callers="[pay]")), "PD1288", "no rule of `pay` lets `edge` in"),
        ((GOOD, rule("pay", callers="[edge]", more=", mode: observe")), "PD1288", "no rule of `pay` lets `edge` in"),
        ((gateway(routes="{match: {paths: [/a]}, to: pay, rewrite: {path: /b}}"),
          rule("pay", callers="[edge]", paths="[/a]")), "PD1288", "lets `edge` call `/b`, which is what arrives"),
        ((GOOD, LET, ROUTED), "PD1291", "`pay` has a route, whose rules requests from a gateway do not take"),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_said(documents: tuple[str, ...], code: str, words: str) -> None:
    done = lowered(*documents)
    assert [(finding.code, finding.severity) for finding in done.findings] == [(code, Severity.WARNING)]
    assert words in done.findings[0].message
    assert done.findings[0].hint
    assert done.mesh is not None


@pytest.mark.parametrize("callers", ["[edge]", '["*"]', "[{namespace: default}]"])
def test_a_rule_that_means_the_gateway_is_enough(callers: str) -> None:
    assert lowered(GOOD, rule("pay", callers=callers, paths="[/**]")).findings == ()
