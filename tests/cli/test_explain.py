"""`policyd explain` beside the plain question: addresses, tokens, revocations, what is observed, and controllers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import OneController
from tests.cli.conftest import Policyd

INTENTS = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  trustDomain: shop.example
  issuers: {login: {issuer: "https://login.example", jwksUri: "https://login.example/keys"}}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: web}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.1]}}}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: leaky}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.2]}}}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: api}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.3]}}}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: inside, owner: team-api}
spec:
  to: api
  from: [{service: [web, leaky], ipBlock: 10.0.0.0/8}]
  allow: [{methods: [GET], paths: [/a]}]
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: admins, owner: team-api}
spec:
  to: api
  from: [web]
  allow: [{methods: [GET], paths: [/admin]}]
  jwt: {issuer: login, claims: {role: [admin, ops]}}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: narrower}
spec:
  to: api
  from: [{service: web, ipBlock: 10.0.0.0/16}]
  allow: [{methods: [GET], paths: [/a, /b]}]
  mode: observe
  replaces: [inside]
---
apiVersion: policyd.dev/v1alpha1
kind: Revocation
metadata: {name: leaked-key, owner: security}
spec: {cut: {from: leaky, to: api}, reason: "key found in a build log, SEC-88"}
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    (tmp_path / "mesh.yaml").write_text(INTENTS)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "first", "more"),
    [
        (("GET /a", "--ip", "10.0.0.9"), "allow  web → api", "owner team-api"),
        (("GET /a", "--ip", "10.9.0.9"), "allow  would-deny  web → api", "observed in place of `inside`, would deny"),
        (("GET /a", "--ip", "192.0.2.1"), "deny (403)", "10.0.0.0/8`, not from `192.0.2.1`"),
        (("GET /a",), "deny (403)", "where it calls from is not known"),
        (("GET /b", "--ip", "10.0.0.9"), "deny (403)  would-allow", "rule `narrower` would allow it"),
        (
            ("GET /admin",),
            "deny (401)",
            "asks for a token of `login` with `role` `admin` or `ops`; there is no valid one",
        ),
        (("GET /admin", "--token", "invalid"), "deny (401)", "the one that was sent is not valid"),
        (("GET /admin", "--token", "valid"), "deny (403)", "says otherwise"),
        (("GET /admin", "--jwt-claim", "login:role=admin"), "allow", "rule `admins` allows"),
        (("GET /admin", "--jwt-claim", "login:role=x", "--jwt-claim", "login:role=ops"), "allow", "`admins`"),
        (("GET /a", "--port", "9090"), "deny (403)", "`api` has no port 9090: its port is 8080"),
        (("GET /a", "--host", "a b"), "reject (400)", "`a b` is not a host"),
    ],
)
def test_explain_takes_all_that_rules_look_at(
    words: tuple[str, ...], first: str, more: str, policyd: Policyd, mesh: Path
) -> None:
    done = policyd("explain", "--from", "web", "--to", "api", words[0], mesh, *words[1:])
    assert done.stdout.startswith(first)
    assert more in done.stdout
    assert done.exit_code == (0 if first.startswith("allow") else 1)


def test_explain_says_who_is_revoked_and_where_it_says_so(policyd: Policyd, mesh: Path) -> None:
    asked = ("explain", "--from", "leaky", "--to", "api", "GET /a", mesh, "--ip", "10.0.0.2")
    done = policyd(*asked)
    assert done.exit_code == 1
    assert "`leaky` is revoked: it may not call `api`, whatever the rules say" in done.stdout
    assert "revocation `default/leaked-key`: key found in a build log, SEC-88   " in done.stdout
    told = json.loads(policyd(*asked, "-o", "json").stdout)
    assert (told["cause"], told["status"]) == ("revoked", 403)
    assert told["reasons"][1]["place"] == f"{mesh}/mesh.yaml:52:18"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jwt-claim", "role=admin"), "`role=admin` is not a claim"),
        (("--jwt-claim", "logn:role=admin"), "did you mean `login`?"),
        (("--jwt-claim", "login:role=admin", "--token", "absent"), "a token that is absent has no claims"),
        (("--ip", "10.0.0.256"), "`10.0.0.256` is not an address"),
        (("--ip", "fe80::1%eth0"), "`fe80::1%eth0` is not an address"),
    ],
)
def test_explain_says_what_is_wrong_with_a_token_or_an_address(
    words: tuple[str, ...], said: str, policyd: Policyd, mesh: Path
) -> None:
    done = policyd("explain", "--from", "web", "--to", "api", "GET /admin", mesh, *words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_explain_asks_a_controller_about_other_rules(
    policyd: Policyd, address: str, controller: OneController
) -> None:
    del controller
    asked = ("explain", "--from", "web", "--to", "checkout", "GET /v1/items", "--server", address)
    done = policyd(*asked, "--at", "head")
    assert (done.exit_code, done.stdout.split("\n")[0]) == (0, "allow  web → checkout  GET /v1/items")
    assert "commit cccccccccccc, at head" in done.stdout
    assert "live: 3 of 12 connected proxies of the destination allow it" in done.stdout
    told = json.loads(policyd(*asked, "--at", "promoted", "-o", "json").stdout)
    assert (told["rule"], told["live"]) == ("default/web-reads", None)
    away = policyd(*asked, "--at", "head", "--header", "X-Beta=yes")
    assert (away.exit_code, away.stdout.split("  ")[0]) == (1, "redirect (302)")
    lost = policyd(*asked, "--at", "node:x")
    assert (lost.exit_code, "there is no node" in lost.stderr) == (2, True)
    assert "hint: did you mean another?" in lost.stderr


def test_explain_says_where_an_allowed_request_goes(policyd: Policyd, shop: Path) -> None:
    asked = ("explain", "--from", "web", "--to", "checkout", "POST /v1/orders", shop)
    done = policyd(*asked)
    lines = [each.strip() for each in done.stdout.splitlines()]
    assert "→ it goes to `v1`" in lines
    assert any(each.startswith("→ answered within ") for each in lines)
    assert json.loads(policyd(*asked, "-o", "json").stdout)["routing"][0] == "it goes to `v1`"
    denied = json.loads(policyd("explain", "--from", "web", "--to", "payments", "GET /", shop, "-o", "json").stdout)
    assert denied["routing"] == []


REWRITES = """\
apiVersion: policyd.dev/v1alpha1
kind: Route
metadata: {name: checkout, owner: team-buy}
spec:
  to: checkout
  rules:
    - {name: v0, match: {paths: [/v0/**]}, rewrite: {path: /v1}}
    - {name: away, match: {paths: [/v1/orders]}, rewrite: {path: /admin}}
"""


def test_what_a_route_lets_arrive_is_judged(policyd: Policyd, shop: Path) -> None:
    call = (shop, "--from", "web", "--to", "checkout")
    assert policyd("explain", "POST /v1/orders", *call).exit_code == 0
    (shop / "route.yaml").write_text(REWRITES)
    denied = policyd("explain", "POST /v1/orders", *call)
    assert (denied.exit_code, denied.stdout.partition(" ")[0]) == (1, "deny")
    assert "it arrives as `/admin`" in denied.stdout
    allowed = policyd("explain", "POST /v0/orders", *call)
    assert (allowed.exit_code, allowed.stdout.partition(" ")[0]) == (0, "allow")
    assert "it arrives as `/v1/orders`" in allowed.stdout


BY_HEADER = """\
apiVersion: policyd.dev/v1alpha1
kind: Route
metadata: {name: checkout, owner: team-buy}
spec:
  to: checkout
  rules:
    - {name: beta, match: {headers: {x-beta: "yes"}}, redirect: {host: beta.example}}
    - {name: tester, match: {cookies: {tester: "1"}}, rewrite: {path: /admin}}
"""


def test_headers_and_cookies_choose_the_rule_of_a_route(policyd: Policyd, shop: Path) -> None:
    (shop / "route.yaml").write_text(BY_HEADER)
    call = ("explain", "POST /v1/orders", shop, "--from", "web", "--to", "checkout")
    plain = policyd(*call)
    assert plain.exit_code == 0
    assert "with header x-beta: yes the answer is `redirect` (302)" in plain.stdout
    assert "with cookie tester: 1 the answer is `deny` (403)" in plain.stdout
    away = policyd(*call, "--header", "X-Beta=yes")
    assert (away.exit_code, away.stdout.startswith("redirect (302)")) == (1, True)
    assert f"never arrives: redirect 302 to //beta.example   {shop}/route.yaml:3:18" in away.stdout
    tester = policyd(*call, "--cookie", "a=b", "--cookie", "tester=1")
    assert "rule `tester` of its route takes it, since it brings cookie tester: 1" in tester.stdout
    other = policyd(*call, "--header", "x-other=1")
    assert (other.exit_code, "x-beta" in other.stdout) == (0, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--header", "x-beta"), "`x-beta` is not a header"),
        (("--header", "x beta=1"), "`x beta=1` is not a header"),
        (("--cookie", "=1"), "`=1` is not a cookie"),
        (("--header", "x-beta=a\nb"), "is not a header"),
    ],
)
def test_what_is_no_header_is_said(words: tuple[str, ...], said: str, policyd: Policyd, shop: Path) -> None:
    done = policyd("explain", "GET /", shop, "--from", "web", "--to", "checkout", *words)
    assert (done.exit_code, said in done.stderr) == (2, True)


EDGE = """\
apiVersion: policyd.dev/v1alpha1
kind: Gateway
metadata: {name: edge}
spec:
  endpoints: [10.0.9.1]
  listeners: [{port: 443, hosts: shop.example, tls: {certificate: shop}}]
  routes: [{match: {paths: [/a]}, to: api}, {match: {paths: [/b]}, redirect: {path: /a}}]
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: from-outside, owner: team-api}
spec: {to: api, from: [edge], allow: [{methods: [GET], paths: [/a]}]}
"""


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("GET https://shop.example/a", 0, "rule `from-outside` allows `edge` to `GET /a` on `api`"),
        ("POST https://shop.example/a", 1, "deny (403)"),
        ("GET https://shop.example/b", 0, "answered 302"),
        ("GET https://shop.example/c", 1, "answered 404"),
        ("GET https://else.example/c", 2, "no gateway listens for `https://else.example/c`"),
        ("GET https://shop.example:x/c", 2, "is not a URL"),
    ],
)
def test_a_request_from_outside_is_explained_by_its_gateway(
    policyd: Policyd, mesh: Path, line: str, status: int, words: str
) -> None:
    (mesh / "edge.yaml").write_text(EDGE)
    done = policyd("explain", line, mesh)
    assert done.exit_code == status
    assert words in done.stdout + done.stderr
    if status < 2:
        assert "it comes in at gateway `edge`, port 443, as `shop.example`" in done.stdout
        told = json.loads(policyd("explain", line, mesh, "-o", "json").stdout)
        assert (told["gateway"], told["allow"]) == ("default/edge", status == 0)
