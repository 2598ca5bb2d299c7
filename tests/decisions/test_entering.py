"""Requests from outside, in words: which gateway takes them in, by which route, and what arrives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policyd.decisions import NO_TOKEN, Token, TokenState, as_gateways_see, entering
from policyd.model.gateway import VERSION, Entry, Gateway, Listener
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.route import Condition, Match, Route, RouteRule
from policyd.model.route_actions import Redirect, Rewrite
from policyd.model.tokens import Issuer
from policyd.testing import build

EDGE, API = Name.parse("edge"), Name.parse("api")
GOOD = Token(TokenState.VALID, "https://login.example")


def entry(name: str, path: str, to: Name | None = API, *, public: bool = False, **rule: object) -> Entry:
    headers = rule.pop("headers", ())
    match = Match(paths=(PathPattern.parse(path),), headers=headers)  # type: ignore[arg-type]
    return Entry(RouteRule(name, match, **rule), to, public)  # type: ignore[arg-type]


@pytest.fixture
def shop() -> Mesh:
    listeners = (
        Listener(80, ("shop.example",)),
        Listener(8443, ("*.shop.example", "shop.example"), "shop"),
        Listener(9000, ("plain.example",), plaintext=True),
    )
    entries = (
        entry("beta", "/v1/**", headers=(Condition("x-beta", "yes"),)),
        entry("old", "/old", None, redirect=Redirect(301, path="/v1")),
        entry("login", "/login", public=True),
        entry("api", "/api/**", rewrite=Rewrite("/v1")),
        entry("v1", "/v1/**"),
    )
    edge = Gateway(listeners, entries, issuer="login")
    instances = replace(build.service("edge", {VERSION: ["10.0.0.9"]}), gateway=edge)
    found = build.mesh([instances, build.service("api", {"v1": ["10.0.0.1"]})], [])
    issuers = (Issuer("login", "https://login.example"),)
    return replace(found, settings=replace(found.settings, issuers=issuers))


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("GET http://shop.example/v1", 308, "port 8443"),
        ("GET https://shop.example:8443/old", 301, "route `old` takes it: redirect 301 to /v1"),
        ("GET https://shop.example:8443/none", 401, "needs a valid token"),
        ("GET https://shop.example:8443/a/../b", 400, "is not canonical"),
        ("CONNECT https://shop.example:8443/v1", 400, "`CONNECT` is not a method"),
        ("GET https://shop.example:8443/v1/a", 401, "needs a valid token of `login`, and comes with none"),
        ("GET http://plain.example:9000/v1/a", 401, "needs a valid token"),
    ],
)
def test_what_a_gateway_answers_itself(shop: Mesh, line: str, status: int, words: str) -> None:
    method, url = line.split(" ")
    found = entering(shop, method, url)
    assert found is not None
    assert (found.gateway, found.status, found.request) == (EDGE, status, None)
    assert words in found.said[-1]


def test_what_goes_on_is_what_arrives(shop: Mesh) -> None:
    found = entering(shop, "POST", "https://www.shop.example:8443/api/a?b=c", GOOD)
    assert found is not None
    asked = found.request
    assert asked is not None
    assert (asked.destination, asked.method, asked.path) == (API, "POST", "/v1/a?b=c")
    assert asked.source.endswith("/ns/default/svc/edge")
    assert asked.token is GOOD
    assert found.said[1:] == (
        "route `api` takes it, to `api`",
        "it arrives as `/v1/a`, and that is what access rules judge",
    )


def test_what_hangs_on_a_header_is_told_beside(shop: Mesh) -> None:
    found = entering(shop, "GET", "https://shop.example:8443/v1/a", GOOD)
    assert found is not None
    assert found.said[1] == "with header x-beta: yes route `beta` takes it, to `api`"
    assert found.said[2] == "route `v1` takes it, to `api`"


def test_what_no_route_takes_is_told_to_who_has_a_token(shop: Mesh) -> None:
    found = entering(shop, "GET", "https://shop.example:8443/none", GOOD)
    assert found is not None
    assert (found.status, found.said[-1]) == (404, "no route takes it")


@pytest.mark.parametrize(
    "token", [NO_TOKEN, Token(TokenState.INVALID), replace(GOOD, issuer="https://other.example")]
)
def test_a_token_is_asked_for_but_in_public(shop: Mesh, token: Token) -> None:
    refused = entering(shop, "GET", "https://shop.example:8443/v1/a", token)
    public = entering(shop, "GET", "https://shop.example:8443/login", token)
    assert refused is not None
    assert public is not None
    assert (refused.status, public.request is not None) == (401, True)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example:8443/",
        "https://shop.example/",
        "http://shop.example:8443/",
        "https://plain.example:9000/",
    ],
)
def test_nobody_listens_for_anything_else(shop: Mesh, url: str) -> None:
    assert entering(shop, "GET", url) is None


def test_a_gateway_does_not_take_the_rules_of_a_services_own_route(shop: Mesh) -> None:
    routed = replace(shop.services[API], route=Route(API, (RouteRule("gone", redirect=Redirect(301, path="/x")),)))
    seen = as_gateways_see(replace(shop, services={**shop.services, API: routed}))
    assert seen.services[API].route is None
    assert seen.services[EDGE] is shop.services[EDGE]
