"""One request too many: token buckets in real Envoys, by service, by caller and by request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.model.access import Source
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import PathPattern
from policyd.model.rate_limit import RateLimit
from tests.compilers.envoy.proxies import Envoys
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, loopback, running

pytestmark = pytest.mark.e2e

HOUR_MS = 3_600_000
"""No bucket gets a token back while a test runs."""


@contextmanager
def limited(binary: Path, offset: int, *limits: RateLimit) -> Iterator[RealMesh]:
    """One instance of `payments`, which every identity of the mesh may call."""
    net = loopback(os.getpid() + offset)
    payments = replace(service(PAYMENTS, v1=[f"{net}1"]), rate_limits=limits)
    may = rule(PAYMENTS, sources=(Source(anyone=True),), paths=("/**",), methods=("GET", "POST"))
    with running(mesh([payments], (PAYMENTS, may)), Envoys(binary)) as world:
        yield world


def caller(world: RealMesh, name: str) -> Connection:
    """A peer with an identity of the mesh."""
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    return world.peer_of(instance, WEB, spiffe_id(world.mesh.settings.trust_domain, Name("shop", name)))


def test_each_caller_has_a_bucket_and_all_share_one(envoy_binary: Path) -> None:
    shared, own = RateLimit(8, HOUR_MS, 8), RateLimit(3, HOUR_MS, 3, each_caller=True)
    with limited(envoy_binary, 160, shared, own) as world:
        with caller(world, "greedy") as greedy:
            assert [greedy.send("GET", f"/{n}").status for n in range(5)] == [200] * 3 + [429] * 2
        with caller(world, "modest") as modest:
            assert [modest.send("GET", "/m").status for _ in range(3)] == [200] * 3
        with caller(world, "late") as late:
            # Envoy asks the slowest bucket first: what it refused took no token of the shared one.
            assert [late.send("GET", "/late").status for _ in range(3)] == [200, 200, 429]


def test_a_limit_holds_for_its_requests_alone(envoy_binary: Path) -> None:
    paths = (PathPattern.parse("/v1/refunds/{id}"), PathPattern.parse("/v2/**"))
    limit = RateLimit(2, HOUR_MS, 2, methods=("POST",), paths=paths)
    with limited(envoy_binary, 164, limit) as world, caller(world, "web") as web:
        for fits in ("/v1/refunds/7", "/v2/a/b?x=/v1"):
            assert web.send("POST", fits).status == 200
        for other in ("/v1/refunds", "/v1/refunds/7/8", "/v1.refunds/7", "/v2x", "/?/v2/"):
            assert web.send("POST", other).status == 200, other
        for fits in ("/v1/refunds/7?a=b", "/v2", "/v2/?q"):
            assert web.send("POST", fits).status == 429, fits
            assert web.send("GET", fits).status == 200, fits


def test_what_is_refused_says_when_to_ask_again(envoy_binary: Path) -> None:
    with limited(envoy_binary, 168, RateLimit(60, HOUR_MS, 1)) as world, caller(world, "web") as web:
        passed, refused = web.send("GET", "/a"), web.send("GET", "/b")
        assert (passed.status, passed.headers["x-ratelimit-limit"]) == (200, "1")
        assert (refused.status, refused.headers["retry-after"]) == (429, "60")
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert 0 < int(refused.headers["x-ratelimit-reset"]) <= 60
        assert refused.body["error"]["reason"] == "rate-limited"
        (node,) = world.logs
        line = world.logged(node, "/b")
        assert line["node"] == node
        assert (line["flags"], line["status"], line["rule"].partition("#")[0]) == ("RL", 429, "pay/rule")


def test_what_no_rule_allows_takes_no_token(envoy_binary: Path) -> None:
    with limited(envoy_binary, 172, RateLimit(1, HOUR_MS, 1)) as world, caller(world, "web") as web:
        assert {web.send("DELETE", "/a").status for _ in range(5)} == {403}
        assert web.send("GET", "/a").status == 200


def test_a_bucket_fills_again(envoy_binary: Path) -> None:
    with limited(envoy_binary, 176, RateLimit(10, 1_000, 1)) as world, caller(world, "web") as web:
        answers: list[int] = []

        def let_in_thrice() -> bool:
            answers.append(web.send("GET", "/a").status)
            return answers.count(200) == 3

        world.until(let_in_thrice)
        assert 429 in answers
