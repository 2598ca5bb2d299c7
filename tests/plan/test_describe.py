"""Changes and stages in plain words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policyd.model.balancing import LoadBalancing, Policy
from policyd.model.failover import Fallback
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.rate_limit import RateLimit
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries, Timeouts
from policyd.model.route import Carrier, Condition, Match, Override, Route, RouteRule, Sticky, Target
from policyd.model.service import WHOLE, Protocol
from policyd.model.tracing import Tracing
from policyd.plan.change import Change, Stage, Unit, WaveStage, WeightStage
from policyd.plan.describe import describe, describe_stage
from policyd.testing import build


def test_services(shop: Mesh) -> None:
    base = shop.services[Name.parse("web")]
    target = replace(
        base,
        protocol=Protocol.GRPC,
        port=1,
        resilience=Resilience(
            Timeouts(1), Retries(1), CircuitBreaker(1), OutlierDetection(1), LoadBalancing(Policy.RANDOM), 1
        ),
        opaque_paths=True,
        rate_limits=(RateLimit(1, 1_000, 1),),
        failover=(Fallback(version="v2"),),
        upgrades=("websocket",),
    )
    said = (
        "web: protocol http -> grpc, port 8080 -> 1, timeouts, retries, circuit breaker, outlier detection, "
        "load balancing, panic threshold, rate limits, failover, upgrades, opaque paths"
    )
    assert describe(Change(Unit.SERVICE, base.name, base, target)) == said
    assert describe(Change(Unit.SERVICE, base.name, None, base)) == "web: new service, v1 serves"
    assert describe(Change(Unit.SERVICE, Name("ops", "web"), base, None)) == "ops/web: removed"


def test_settings(shop: Mesh) -> None:
    base = shop.settings
    target = replace(base, leaf_s=1, tracing=Tracing("main", 100), distrusted=("ab",))
    assert describe(Change(Unit.SETTINGS, Name("", base.name), base, target)) == "settings: leaf, distrusted, tracing"


def test_access(shop: Mesh) -> None:
    base = build.access("web", build.rule("a", ["x"]), build.rule("b", ["x"]))
    target = build.access("web", build.rule("b", ["y"]), build.rule("c", ["x"]))
    assert describe(Change(Unit.ACCESS, base.to, base, target)) == "access to web: -rule a, ~rule b, +rule c"


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (WeightStage(250), "2.5 % of requests"),
        (WaveStage(1), "1 instance of each service"),
        (WaveStage(2, 2_500), "2 instances of each service or 25 % of proxies"),
        (WaveStage(1, WHOLE), "every proxy"),
    ],
)
def test_stages(stage: Stage, words: str) -> None:
    assert describe_stage(stage) == words


def test_routes(shop: Mesh) -> None:
    base = shop.services[Name.parse("web")]
    beta = RouteRule("beta", Match(headers=(Condition("x-beta", "yes"),)), (Target(WHOLE, "v2"),))
    rest = RouteRule("rest", Match(methods=("GET",)), override=Override(request_ms=5, retries=Retries(0)))
    before = replace(base, route=Route(base.name, (beta, rest)))
    after = replace(base, route=Route(base.name, (replace(rest, sticky=Sticky(Carrier.COOKIE, "c")), beta)))
    assert describe(Change(Unit.SERVICE, base.name, base, before)) == (
        "web: +route beta (header x-beta: yes): v2, +route rest (GET): timeout 5 ms, retries 0"
    )
    assert describe(Change(Unit.SERVICE, base.name, before, after)) == (
        "web: ~route rest (GET): timeout 5 ms, retries 0, sticky by cookie c, route order rest > beta"
    )
    assert describe(Change(Unit.SERVICE, base.name, after, base)) == "web: -route rest, -route beta"
