"""Where a request goes, in words: weights, headers first, bounds, tries, and what holds it back."""

from __future__ import annotations

from dataclasses import replace

from policyd.decisions import routing
from policyd.model.balancing import Key, LoadBalancing, Policy
from policyd.model.rate_limit import RateLimit
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries, Timeouts
from policyd.model.service import HeaderMatch, Split
from policyd.testing.build import service

PAYMENTS = service("payments", {"v1": ["10.0.0.1"], "v2": ["10.0.0.2"]}, serving="v1")


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
