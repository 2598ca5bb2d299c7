"""Where a request goes, in words: weights, headers first, bounds, tries, and what holds it back."""

from __future__ import annotations

from dataclasses import replace

from policyd.decisions import Request, diverted
from policyd.decisions import routing as routing_in
from policyd.model.balancing import Key, LoadBalancing, Policy
from policyd.model.external import External
from policyd.model.failover import Fallback
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.rate_limit import RateLimit
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries, Timeouts
from policyd.model.route import Condition, Match, Override, Route, RouteRule, Target
from policyd.model.route_actions import Redirect, Rewrite
from policyd.model.service import WHOLE, HeaderMatch, Service, Split
from policyd.testing import build
from policyd.testing.build import service

WEB = "spiffe://test.example/ns/default/svc/web"
PAYMENTS = service("payments", {"v1": ["10.0.0.1"], "v2": ["10.0.0.2"]}, serving="v1")


def routing(payments: Service, method: str, path: str = "/", host: str = "") -> tuple[str, ...]:
    """What is said of a request of `web`, which may call `payments` and `backup`."""
    backup = service("backup", {"v1": ["10.0.1.1"]})
    may = [build.access(to, build.rule(f"web-{to}", ["web"], "GET /**")) for to in ("payments", "backup")]
    there = build.mesh([payments, backup, service("web", {"v1": ["10.0.2.1"]})], may)
    return routing_in(there, Request(WEB, payments.name, method, path, host))


def test_at_rest_it_goes_to_the_version_that_serves() -> None:
    assert routing(PAYMENTS, "GET") == ("it goes to `v1`", "answered within 15 s, tried once")


def test_on_its_way_it_goes_by_weight_and_by_header() -> None:
    weights = (("v1", 7_500), ("v2", 2_500))
    split = replace(PAYMENTS, split=Split(weights))
    assert routing(split, "GET")[0] == "it goes to `v1` with weight 75 %, to `v2` with weight 25 %"
    first = replace(PAYMENTS, split=Split(weights, HeaderMatch("x-canary", "yes"), "v2"))
    assert routing(first, "GET")[:2] == (
        "with `x-canary: yes` it goes to `v2`",
        "otherwise it goes to `v1` with weight 75 %, to `v2` with weight 25 %",
    )


def test_a_version_without_instances_answers_nobody() -> None:
    empty = service("payments", {"v1": []}, serving="v1")
    assert routing(empty, "GET")[1] == "`v1` has no instance: what goes there is answered 503"


def test_a_host_outside_is_named() -> None:
    outside = replace(service("payments", {"external": []}, serving="external"), external=External("a.example"))
    assert routing(outside, "GET")[0] == (
        "it leaves the mesh, to `a.example:8080`, over TLS, as long as its certificate names `a.example`"
    )
    in_the_clear = replace(outside, external=External("a.example", roots=""))
    assert routing(in_the_clear, "GET")[0] == "it leaves the mesh, to `a.example:8080`, in the clear"


def test_bounds_and_tries_are_those_of_the_method() -> None:
    resilience = Resilience(
        Timeouts(request_ms=2_000, per_try_ms=600),
        Retries(2, ("connect-failure", "503")),
        CircuitBreaker(requests=100, pending=10),
        OutlierDetection(consecutive_errors=5, max_ejected=3_000),
    )
    changed = replace(PAYMENTS, resilience=resilience)
    assert routing(changed, "GET")[1:] == (
        "answered within 2 s, each try within 600 ms, with up to 2 retries on `connect-failure`, `503`",
        "refused with 503 beyond 100 requests, 10 waiting requests at once, for each caller's sidecar and version",
        "instances that keep failing are left out, at most 30 % of them",
    )
    assert routing(changed, "POST")[1].endswith("tried once: `POST` may not be sent twice")
    limits = (RateLimit(100, 1_000, 100), RateLimit(5, 60_000, 5, each_caller=True, methods=("POST",)))
    keyed = Resilience(load_balancing=LoadBalancing(Policy.MAGLEV, Key(cookie="cart")))
    limited = replace(PAYMENTS, resilience=keyed, rate_limits=limits)
    assert routing(limited, "GET")[1:] == (
        "what has one value of the cookie `cart` goes to one instance",
        "answered within 15 s, tried once",
        "refused with 429 beyond 100 in 1 s of all callers together, at each instance",
        "refused with 429 beyond 5 of some requests in 60 s of each caller, at each instance",
    )
    unbounded = replace(PAYMENTS, resilience=Resilience(Timeouts(request_ms=0)))
    assert routing(unbounded, "GET")[1] == "not bounded in time, tried once"


def test_while_it_is_down_it_goes_on_where_the_caller_may() -> None:
    backup = Fallback(service=Name.parse("backup"))
    led = replace(PAYMENTS, failover=(Fallback(version="v2"), backup, Fallback(service=Name.parse("nobody"))))
    assert routing(led, "GET")[1:3] == (
        "while all instances there are down it goes on at `v2`",
        "while all instances there are down it goes on at service `backup`",
    )
    assert routing(led, "GET")[3] == "answered within 15 s, tried again only to go on"
    assert routing(led, "POST")[3] == "answered within 15 s, tried once: `POST` may not be sent twice"
    zoned = replace(PAYMENTS, failover=(Fallback(zone="other"), Fallback(zone="b")))
    assert [line.rpartition(" in ")[2] for line in routing(zoned, "GET")[1:3]] == ["other zones", "zone `b`"]


def test_a_rule_of_its_route_takes_it_or_may() -> None:
    beta = RouteRule("beta", Match(headers=(Condition("x-beta", "yes"),)), (Target(WHOLE, "v2"),))
    old = RouteRule("old", Match((), (PathPattern.parse("/old/**"),)), redirect=Redirect(301, path="/new"))
    slow = RouteRule(
        "slow", Match(("pay.example",), methods=("POST",)), (Target(WHOLE, "v2"),), Override(request_ms=60_000)
    )
    routed = replace(PAYMENTS, route=Route(PAYMENTS.name, (beta, old, slow)))
    may = "with header x-beta: yes rule `beta` of its route takes it: v2"
    assert routing(routed, "GET") == (may, "otherwise it goes to `v1`", "answered within 15 s, tried once")
    assert routing(routed, "GET", "/old/a?b") == (may, "rule `old` of its route takes it: redirect 301 to /new")
    taken = "rule `slow` of its route takes it: v2, timeout 60 s"
    assert routing(routed, "POST", host="Pay.example:80") == (may, taken, "answered within 60 s, tried once")
    assert routing(routed, "POST")[1].startswith("with host pay.example rule `slow`")
    assert routing(routed, "POST", host="web.example")[1] == "otherwise it goes to `v1`"


def test_rules_judge_what_a_route_makes_of_a_request() -> None:
    old = RouteRule("old", Match((), (PathPattern.parse("/old/**"),)), rewrite=Rewrite("/new"))
    beta = RouteRule("beta", Match(headers=(Condition("x-beta", "yes"),)), redirect=Redirect(302, path="/b"))
    routed = replace(PAYMENTS, route=Route(PAYMENTS.name, (beta, old)))
    arrives = "then it arrives as `/new/a`, and that is what access rules judge"
    assert routing(routed, "GET", "/old/a?b")[1:3] == ("rule `old` of its route takes it: rewritten to /new", arrives)
    may = [build.access("payments", build.rule("web-pays", ["web"], "GET /new/**"))]
    there = build.mesh([routed, service("web", {"v1": ["10.0.2.1"]}), service("ops", {"v1": ["10.0.3.1"]})], may)
    assert diverted(there, Request(WEB, routed.name, "GET", "/old/a")) == (
        "with header x-beta: yes rule `beta` of its route takes it before that: redirect 302 to /b",
        "rule `old` of its route takes it before that: rewritten to /new",
        arrives,
    )
    assert len(diverted(there, Request(WEB, routed.name, "GET", "/other"))) == 1
    assert diverted(there, Request(WEB.replace("web", "ops"), routed.name, "GET", "/old/a")) == ()
