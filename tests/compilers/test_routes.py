"""One route through every data plane: the same requests are taken by the same rules."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.route import Carrier, Condition, How, Match, Route, RouteRule, Sticky, Target
from policyd.model.route_actions import Redirect, Rewrite, rewritten
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 190)
BACKUP = Name("pay", "backup")
V2 = (Target(10_000, "v2"),)
HALVES = (Target(5_000, "v1"), Target(5_000, "v2"))
RULES = (
    RouteRule("beta", Match(headers=(Condition("x-beta", "yes"),)), V2),
    RouteRule("cookie", Match(cookies=(Condition("beta", "1"),), methods=("GET", "PUT")), V2),
    RouteRule("query", Match(query=(Condition("to", "v", How.PREFIX), Condition("q", "1"))), V2),
    RouteRule("paths", Match(paths=(PathPattern.parse("/v2/**"), PathPattern.parse("/o/{id}/x"))), V2),
    RouteRule("host", Match(hosts=("payments.pay.shop.example",)), V2),
    RouteRule("kept", Match(paths=(PathPattern.parse("/kept"),)), HALVES, sticky=Sticky(Carrier.COOKIE, "cart")),
    RouteRule(
        "users", Match(paths=(PathPattern.parse("/users"),)), HALVES, sticky=Sticky(Carrier.HEADER, "x-account")
    ),
    RouteRule("away", Match(paths=(PathPattern.parse("/away"),)), (Target(10_000, service=BACKUP),)),
    RouteRule(
        "moved", Match(paths=(PathPattern.parse("/moved"),)), redirect=Redirect(308, path="/a%20b", host="x.example")
    ),
    RouteRule("secure", Match(paths=(PathPattern.parse("/secure/**"),)), redirect=Redirect(302, scheme="https")),
    RouteRule(
        "renamed",
        Match(paths=(PathPattern.parse("/from/**"), PathPattern.parse("/to/**"), PathPattern.parse("/n/{n}"))),
        rewrite=Rewrite("/to/v1"),
    ),
    RouteRule("bare", Match(paths=(PathPattern.parse("/bare/**"),)), rewrite=Rewrite("/", "other.example")),
    RouteRule(
        "closed", Match(paths=(PathPattern.parse("/closed"),)), (Target(10_000, service=Name("pay", "closed")),)
    ),
)


def shop() -> Mesh:
    payments = replace(service(PAYMENTS, v1=[NET + "1"], v2=[NET + "2"]), route=Route(PAYMENTS, RULES))
    closed = service(Name("pay", "closed"), v1=[NET + "6"])
    services = [payments, service(BACKUP, v7=[NET + "4"]), closed, service(WEB, v1=[NET + "9"])]
    return mesh(services, *((name, rule(name)) for name in (PAYMENTS, BACKUP)))


@pytest.fixture(scope="module")
def web(sidecars: Sidecars) -> Iterator[Connection]:
    with running(shop(), sidecars) as world, world.app_of(world.mesh.services[WEB].versions[0].endpoints[0]) as found:
        yield found


TABLE: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("GET", "/", {}, "v1"),
    ("GET", "/", {"x-beta": "yes"}, "v2"),
    ("GET", "/", {"x-beta": "no"}, "v1"),
    ("GET", "/", {"cookie": "a=2; beta=1"}, "v2"),
    ("GET", "/", {"cookie": "abeta=1"}, "v1"),
    ("DELETE", "/", {"cookie": "beta=1"}, "v1"),
    ("GET", "/?q=1&to=v9", {}, "v2"),
    ("GET", "/?q=1", {}, "v1"),
    ("GET", "/v2", {}, "v2"),
    ("GET", "/v2/a?b", {}, "v2"),
    ("GET", "/v2x", {}, "v1"),
    ("POST", "/o/17/x", {}, "v2"),
    ("POST", "/o/17/x/y", {}, "v1"),
    ("GET", "/away", {}, "v7"),
    ("GET", "/away", {"x-beta": "yes"}, "v2"),
)


@pytest.mark.parametrize(("method", "target", "headers", "version"), TABLE)
def test_the_first_rule_that_matches_is_taken(
    web: Connection, method: str, target: str, headers: dict[str, str], version: str
) -> None:
    answer = web.send(method, target, headers=headers)
    assert (answer.status, answer.body["version"]) == (200, version)


def test_a_name_of_the_service_is_matched(web: Connection) -> None:
    assert web.send("GET", "/", host="payments.pay.shop.example").body["version"] == "v2"


def test_nobody_gets_to_a_service_without_a_rule(web: Connection) -> None:
    answer = web.send("GET", "/closed")
    assert (answer.status, answer.body["error"]["reason"]) == (403, "denied-not-in-scope")


def test_clients_stay(web: Connection) -> None:
    first = [web.send("GET", "/kept") for _ in range(60)]
    cookies = [re.match("cart=([^;]+);", each.headers["set-cookie"]) for each in first]
    again = [web.send("GET", "/kept", headers={"cookie": f"cart={each[1]}"}) for each in cookies if each]
    assert [each.body["version"] for each in again] == [each.body["version"] for each in first]
    assert set(Counter(each.body["version"] for each in first)) == {"v1", "v2"}
    assert not any("set-cookie" in each.headers for each in again)
    by_header = [
        {web.send("GET", "/users", headers={"x-account": f"a{n}"}).body["version"] for _ in range(3)}
        for n in range(40)
    ]
    assert {len(each) for each in by_header} == {1}
    assert set().union(*by_header) == {"v1", "v2"}


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/moved", 308, "http://x.example/a%20b"),
        ("/moved?a=1&b", 308, "http://x.example/a%20b?a=1&b"),
        ("/secure/x?y=1", 302, "https://payments.pay/secure/x?y=1"),
    ],
)
def test_clients_are_sent_elsewhere(web: Connection, target: str, status: int, location: str) -> None:
    answer = web.send("GET", target)
    assert (answer.status, answer.headers["location"]) == (status, location)
    assert "denied" not in str(answer.body)


@pytest.mark.parametrize("path", ["/from", "/from/", "/from/a/b", "/to/x", "/n/7", "/bare", "/bare/", "/bare/x/y"])
def test_the_callee_sees_what_was_rewritten(web: Connection, path: str) -> None:
    rule = next(each for each in RULES if any(pattern.matches(path) for pattern in each.match.paths))
    pattern = next(pattern for pattern in rule.match.paths if pattern.matches(path))
    assert rule.rewrite is not None
    answer = web.send("GET", f"{path}?q=1")
    assert answer.status == 200
    assert answer.body["path"] == f"{rewritten(path, pattern, rule.rewrite.path)}?q=1"
    assert answer.body["headers"]["host"] == (rule.rewrite.host or "payments.pay")
