"""Routes on real Envoys: who matches, who gets which version, who stays, and what an analysis counts."""

from __future__ import annotations

import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policyd.model.access import Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.paths import PathPattern
from policyd.model.resilience import Retries
from policyd.model.route import (
    Carrier,
    Condition,
    How,
    Match,
    Override,
    Request,
    Route,
    RouteRule,
    Sticky,
    Target,
    choose,
)
from policyd.model.route_actions import Fault, Mirror
from policyd.model.service import HeaderMatch, Split
from tests.compilers.envoy.live import LiveEnvoys, live
from tests.compilers.envoy.proxies import socket_of
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 160)
BACKUP = Name("pay", "backup")
CLOSED = Name("pay", "closed")
LEAST_LIKELY = 1e-7
"""Of a right split, how often a count may lie outside of its bounds."""


def matching(**fields: object) -> Match:
    return Match(**{"paths": (), **fields})  # type: ignore[arg-type]


def to(version: str, weight: int = 10_000) -> Target:
    return Target(weight, version)


HALVES = (to("v1", 9_000), to("v2", 1_000))
RULES = (
    RouteRule("beta", matching(headers=(Condition("x-beta", "yes"),)), (to("v2"),)),
    RouteRule("cookie", matching(cookies=(Condition("beta", "a.b"),)), (to("v2"),)),
    RouteRule("begins", matching(cookies=(Condition("kind", "in", How.PREFIX),)), (to("v2"),)),
    RouteRule("posts", matching(methods=("POST", "PUT"), paths=(PathPattern.parse("/v1/{a}/x"),)), (to("v2"),)),
    RouteRule(
        "lists",
        matching(paths=(PathPattern.parse("/lists"), PathPattern.parse("/v2/**"), PathPattern.parse("/o/{id}/**"))),
        (to("v2"),),
    ),
    RouteRule("asks", matching(query=(Condition("q", "1"), Condition("deep", how=How.PRESENT))), (to("v2"),)),
    RouteRule("tests", matching(headers=(Condition("x-user", "test-", How.PREFIX),)), (to("v2"),)),
    RouteRule("named", matching(hosts=("payments.pay.shop.example",)), (to("v2"),)),
    RouteRule("split", matching(paths=(PathPattern.parse("/split"),)), HALVES),
    RouteRule(
        "kept", matching(paths=(PathPattern.parse("/kept"),)), HALVES, sticky=Sticky(Carrier.COOKIE, "cart", 60)
    ),
    RouteRule(
        "users", matching(paths=(PathPattern.parse("/users"),)), HALVES, sticky=Sticky(Carrier.HEADER, "x-account")
    ),
    RouteRule("away", matching(paths=(PathPattern.parse("/away"),)), (Target(10_000, service=BACKUP),)),
    RouteRule("closed", matching(paths=(PathPattern.parse("/closed"),)), (Target(10_000, service=CLOSED),)),
    RouteRule(
        "partly",
        matching(paths=(PathPattern.parse("/partly"),)),
        (Target(9_000, service=CLOSED), Target(1_000, service=BACKUP)),
    ),
    RouteRule(
        "slow", matching(paths=(PathPattern.parse("/slow"),)), override=Override(request_ms=300, idle_ms=5_000)
    ),
    RouteRule(
        "copied",
        matching(paths=(PathPattern.parse("/copied"),)),
        mirrors=(Mirror(3_000, "v2"), Mirror(10_000, service=CLOSED)),
    ),
    RouteRule("trouble", matching(paths=(PathPattern.parse("/trouble"),)), fault=Fault(200, 10_000, 418, 3_000)),
    RouteRule(
        "again",
        matching(paths=(PathPattern.parse("/again"),)),
        override=Override(retries=Retries(2, ("503",), ("GET",))),
    ),
)


def shop(rules: Iterable[RouteRule] = RULES, split: Split | None = None) -> Mesh:
    payments = service(PAYMENTS, v1=[NET + "1"], v2=[NET + "2"])
    routed = replace(payments, route=Route(PAYMENTS, tuple(rules)), split=split or payments.split)
    caller = Source(services=(WEB,))
    return mesh(
        [routed, service(BACKUP, v7=[NET + "4"]), service(CLOSED, v8=[NET + "5"]), service(WEB, v1=[NET + "9"])],
        *((name, rule(name, (caller,))) for name in (PAYMENTS, BACKUP)),
    )


@pytest.fixture(scope="module")
def envoys(envoy_binary: Path) -> Iterator[LiveEnvoys]:
    with live(envoy_binary) as found:
        yield found


@pytest.fixture(scope="module")
def world(envoys: LiveEnvoys) -> Iterator[RealMesh]:
    with running(shop(), envoys) as started:
        yield started


@pytest.fixture
def web(world: RealMesh) -> Iterator[Connection]:
    with world.app_of(world.mesh.services[WEB].versions[0].endpoints[0]) as connection:
        yield connection


def in_bounds(count: int, total: int, share: float) -> bool:
    """Whether a binomial count is likely: by the normal approximation, `LEAST_LIKELY` outside."""
    deviations = math.sqrt(2 * math.log(2 / LEAST_LIKELY))
    return abs(count - total * share) <= deviations * math.sqrt(total * share * (1 - share)) + 1


PIECES = st.sampled_from(["v1", "v2", "v2x", "lists", "o", "x", "7", "", "split"])
PATHS = (
    st.lists(PIECES, min_size=1, max_size=4)
    .map(lambda parts: "/" + "/".join(parts))
    .filter(lambda path: "//" not in path)
)
QUERIES = st.sampled_from(
    ["", "?", "?q=1", "?q=1&deep=", "?deep=2&q=1", "?q=1&q=2&deep=1", "?q=2&q=1&deep=1", "?q=1&deeper=1"]
)
COOKIES = st.sampled_from(
    ["", "beta=a.b", "beta=aXb", "x=1; beta=a.b", "xbeta=a.b", "beta=a.bc", "kind=inner; y=2", "kind=on", "y=kind=in"]
)
HEADERS = st.fixed_dictionaries(
    {
        "x-beta": st.sampled_from(["", "yes", "yesno", "no"]),
        "x-user": st.sampled_from(["", "test-", "test-7", "Test-7"]),
        "cookie": COOKIES,
    }
)
REQUESTS = st.builds(
    lambda method, path, query, host, headers: Request(
        method, path + query, host, tuple((k, v) for k, v in sorted(headers.items()) if v)
    ),
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    PATHS,
    QUERIES,
    st.sampled_from(["payments.pay", "payments.pay.shop.example"]),
    HEADERS,
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(request=REQUESTS)
def test_envoy_chooses_as_the_reference_does(web: Connection, request: Request) -> None:
    found = web.send(request.method, request.path, request.host, dict(request.headers))
    rule = choose(shop().services[PAYMENTS].route, request)
    assert found.status == 200
    if rule is None or rule.name == "split":
        assert found.body["version"] in ({"v1"} if rule is None else {"v1", "v2"})
    else:
        assert found.body["version"] == "v2", rule.name


def test_shares_hold_over_ten_thousand_requests(web: Connection) -> None:
    got = Counter(web.send("GET", "/split").body["version"] for _ in range(10_000))
    assert in_bounds(got["v2"], 10_000, 0.1), got
    assert set(got) == {"v1", "v2"}


def test_shares_hold_over_http2(world: RealMesh) -> None:
    endpoint = world.mesh.services[WEB].versions[0].endpoints[0]
    base = f"http://{endpoint.address}:{world.mesh.settings.outbound_port}"
    with httpx.Client(http1=False, http2=True, base_url=base) as client:
        asked = [client.get("/split", headers={"host": "payments.pay"}) for _ in range(1_000)]
        beta = {
            client.get("/split", headers={"host": "payments.pay", "x-beta": "yes"}).json()["version"]
            for _ in range(50)
        }
    assert {each.http_version for each in asked} == {"HTTP/2"}
    assert in_bounds(sum(each.json()["version"] == "v2" for each in asked), 1_000, 0.1)
    assert beta == {"v2"}


def cookie_of(headers: dict[str, str]) -> str:
    found = re.fullmatch(r"cart=([^;]+); Path=/; HttpOnly; Max-Age=60", headers["set-cookie"])
    assert found
    return found[1]


def test_a_client_stays_by_its_cookie_and_only_the_needed_part_moves(
    envoys: LiveEnvoys, world: RealMesh, web: Connection
) -> None:
    clients: dict[str, str] = {}
    for _ in range(600):
        answer = web.send("GET", "/kept")
        clients[cookie_of(dict(answer.headers))] = answer.body["version"]
    assert in_bounds(list(clients.values()).count("v2"), 600, 0.1)

    def versions() -> dict[str, str]:
        answers = {one: web.send("GET", "/kept", headers={"cookie": f"a=b; cart={one}"}) for one in clients}
        assert not any("set-cookie" in answer.headers for answer in answers.values())
        return {one: answer.body["version"] for one, answer in answers.items()}

    assert versions() == clients
    more = replace(RULES[9], targets=(to("v1", 7_000), to("v2", 3_000)))
    assert more.name == "kept"
    envoys.serve(shop((*RULES[:9], more, *RULES[10:])))
    moved = versions()
    assert all(moved[one] == "v2" for one, was in clients.items() if was == "v2")
    assert in_bounds(list(moved.values()).count("v2"), 600, 0.3)
    envoys.serve(shop())
    assert versions() == clients


def test_a_client_stays_by_a_header_and_without_it_the_weights_hold(web: Connection) -> None:
    first = {n: web.send("GET", "/users", headers={"x-account": f"a{n}"}).body["version"] for n in range(1_000)}
    again = {n: web.send("GET", "/users", headers={"x-account": f"a{n}"}).body["version"] for n in range(1_000)}
    assert first == again
    assert in_bounds(list(first.values()).count("v2"), 1_000, 0.1)
    anonymous = [web.send("GET", "/users").body["version"] for _ in range(500)]
    assert in_bounds(anonymous.count("v2"), 500, 0.1)


def test_another_service_takes_only_the_requests_of_those_who_may_call_it(web: Connection) -> None:
    assert web.send("GET", "/away").body["version"] == "v7"
    denied = web.send("GET", "/closed")
    assert (denied.status, denied.body["error"]["reason"]) == (403, "denied-not-in-scope")
    assert {web.send("GET", "/partly").body["version"] for _ in range(40)} == {"v7"}


def test_bounds_and_further_tries_of_a_rule_are_its_own(web: Connection) -> None:
    assert web.send("GET", "/slow", headers={"x-test-delay": "1"}).status == 504
    assert web.send("GET", "/other", headers={"x-test-delay": "1"}).status == 200


def test_a_rule_tries_again_where_the_service_does_not(world: RealMesh, web: Connection) -> None:
    for path in ("/again", "/once"):
        assert web.send("GET", path, headers={"x-test-status": "503"}).status == 503
    assert len(world.arrived("/again", 3)) == 3
    assert len(world.arrived("/once", 1)) == 1


def test_a_canary_moves_what_follows_the_split_and_no_gate_counts_what_is_pinned(
    envoys: LiveEnvoys, world: RealMesh, web: Connection
) -> None:
    follows = RouteRule("follows", matching(paths=(PathPattern.parse("/follows"),)), (Target(10_000),))
    split = Split((("v1", 5_000), ("v2", 5_000)), HeaderMatch("x-canary", "yes"), "v2")
    envoys.serve(shop((follows, *RULES), split))
    before = completed(world)
    got = Counter(web.send("GET", "/follows").body["version"] for _ in range(400))
    assert in_bounds(got["v2"], 400, 0.5)
    assert {web.send("GET", "/follows", headers={"x-canary": "yes"}).body["version"] for _ in range(40)} == {"v2"}
    counted = completed(world)
    assert counted["pay/payments/v2"] - before["pay/payments/v2"] == got["v2"] + 40
    for _ in range(30):
        web.send("GET", "/lists")
    after = completed(world)
    assert after["pay/payments/v2"] == counted["pay/payments/v2"]
    assert after["pay/payments/v2/pinned"] - counted["pay/payments/v2/pinned"] == 30
    envoys.serve(shop())


def completed(world: RealMesh) -> Counter[str]:
    """Final answers by cluster, as the caller's sidecar counts them."""
    caller = next(node for node in nodes(world.mesh) if node.service == WEB)
    transport = httpx.HTTPTransport(uds=str(socket_of(world, caller)))
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        query = {"filter": r"^cluster\.pay/.*\.upstream_rq_completed$", "format": "json"}
        found = admin.get("/stats", params=query).json()["stats"]
    return Counter({each["name"].split(".")[1]: each["value"] for each in found})


def test_a_share_is_copied_and_no_gate_counts_it(world: RealMesh, web: Connection) -> None:
    before = completed(world)
    assert {web.send("GET", "/copied").body["version"] for _ in range(1_000)} == {"v1"}
    logged = world.logs[f"pay/payments/v2/{NET}2"]
    world.until(lambda: in_bounds(logged.read_text().count('"/copied"'), 1_000, 0.3))
    assert completed(world)["pay/payments/v2"] == before["pay/payments/v2"]
    assert '"/copied"' not in world.logs[f"pay/closed/v8/{NET}5"].read_text()


def test_trouble_on_purpose_for_its_share(web: Connection) -> None:
    begun = time.monotonic()
    got = Counter(web.send("GET", "/trouble").status for _ in range(40))
    assert time.monotonic() - begun >= 40 * 0.2
    assert set(got) == {200, 418}
    assert in_bounds(got[418], 40, 0.3)
