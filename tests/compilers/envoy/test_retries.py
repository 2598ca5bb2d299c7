"""Tries and times in a caller's real Envoy: slow instances, streams that do not end, and storms that stay small."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from policyd.model.node import nodes
from policyd.model.resilience import CircuitBreaker, Resilience, Retries, Timeouts
from tests.compilers.envoy.test_resilience import calling, counter, node_of
from tests.compilers.meshes import WEB
from tests.compilers.world import RealMesh

pytestmark = pytest.mark.e2e

CALLERS, CALLS = 40, 10
FEW, MANY = 3, 50
BUDGET = 2_000


def test_a_storm_of_retries_stays_within_the_budget(envoy_binary: Path) -> None:
    """A fifth of what is active may be further tries: a quarter more than was asked for, not four times as much."""
    storm = Resilience(retries=Retries(3, ("503",), ("GET",), BUDGET, base_ms=1, max_ms=2))
    with calling(envoy_binary, 260, 1, resilience=storm) as (world, _):
        before = counter(world, "upstream_rq_total")
        with ThreadPoolExecutor(CALLERS) as crowd:
            statuses = [status for got in crowd.map(lambda _: _failing(world), range(CALLERS)) for status in got]
        assert statuses == [503] * CALLERS * CALLS
        tries = counter(world, "upstream_rq_total") - before
        assert len(statuses) < tries <= 1.3 * len(statuses)
        assert counter(world, "upstream_rq_retry_overflow") > 0


def test_no_more_further_tries_are_under_way_than_the_breaker_lets(envoy_binary: Path) -> None:
    """A number in the place of the budget, which would let three of so few calls be tried again at once."""
    one = Resilience(
        retries=Retries(1, ("503",), ("GET",), 10_000, base_ms=1, max_ms=2), circuit_breaker=CircuitBreaker(retries=1)
    )
    with calling(envoy_binary, 288, 1, resilience=one) as (world, _):
        with ThreadPoolExecutor(FEW) as crowd:
            list(crowd.map(lambda _: _failing(world), range(FEW)))
        assert counter(world, "upstream_rq_retry_overflow") > 0
        assert counter(world, "upstream_rq_retry") > 0


def test_a_further_try_waits_as_long_as_it_is_told_to(envoy_binary: Path) -> None:
    """With jitter: less than 1 % of a wait of up to an hour is over when the time of the call is up."""
    patient = Resilience(Timeouts(request_ms=400), Retries(3, ("503",), ("GET",), 10_000, 3_600_000, 3_600_000))
    with calling(envoy_binary, 292, 1, resilience=patient) as (world, web):
        failing = {"x-test-status": "503"}
        assert {web.send("GET", "/late", headers=failing).status for _ in range(3)} == {504}
        assert len(world.arrived("/late", 3)) == 3


def _failing(world: RealMesh) -> list[int]:
    caller = world.mesh.services[WEB].versions[0].endpoints[0]
    with world.app_of(caller) as web:
        return [
            web.send("GET", "/", headers={"x-test-status": "503", "x-test-delay": "0.05"}).status
            for _ in range(CALLS)
        ]


@pytest.mark.parametrize("condition", ["reset", "gateway-error"])
def test_a_slow_instance_is_given_up_for_another_one(envoy_binary: Path, condition: str) -> None:
    """One further try is enough, each time: it never goes to the instance that has just failed the call."""
    slow = Resilience(Timeouts(request_ms=3_000, per_try_ms=200), Retries(1, (condition,), ("GET",), 10_000))
    offset = 264 if condition == "reset" else 268
    with calling(envoy_binary, offset, 2, resilience=slow) as (world, web):
        world.until(lambda: len({web.send("GET", "/").body["instance"] for _ in range(10)}) == 2)
        world.processes[node_of(world).id].send_signal(signal.SIGSTOP)
        # Three at once: so many further tries are always allowed, and balancing does not spare who is busy.
        with ThreadPoolExecutor(FEW) as crowd:
            replies = [reply for got in crowd.map(lambda _: _answers(world), range(FEW)) for reply in got]
        assert Counter(status for status, _ in replies) == {200: FEW * MANY}
        assert len({instance for _, instance in replies}) == 1
        assert counter(world, "upstream_rq_per_try_timeout") > 0


def _answers(world: RealMesh) -> list[tuple[int, str]]:
    caller = world.mesh.services[WEB].versions[0].endpoints[0]
    with world.app_of(caller) as web:
        replies = [web.send("GET", "/") for _ in range(MANY)]
    return [(reply.status, reply.body.get("instance", "")) for reply in replies]


def test_what_may_not_be_sent_twice_is_not(envoy_binary: Path) -> None:
    careful = Resilience(retries=Retries(3, ("503",), budget=10_000))
    with calling(envoy_binary, 272, 1, resilience=careful) as (world, web):
        for method, tries in (("POST", 1), ("GET", 4)):
            assert web.send(method, f"/{method}", headers={"x-test-status": "503"}).status == 503
            assert len(world.arrived(f"/{method}", tries)) == tries


def test_an_exchange_ends_when_its_time_is_up(envoy_binary: Path) -> None:
    """The bound of the call does not begin before the request is whole; an upload that never ends has this one."""
    bounded = Resilience(Timeouts(request_ms=300, stream_ms=600))
    with calling(envoy_binary, 276, 1, resilience=bounded) as (world, _):
        caller = next(node for node in nodes(world.mesh) if node.service == WEB)
        url = f"http://{caller.endpoint.address}:{world.mesh.settings.outbound_port}/upload"
        begun = time.monotonic()
        with httpx.Client(timeout=20) as client:
            reply = client.post(
                url, headers={"host": "payments.pay", "content-length": "1000000"}, content=_trickle(begun)
            )
        assert reply.status_code in {408, 504}
        assert time.monotonic() - begun < 10


def _trickle(begun: float) -> Iterator[bytes]:
    while time.monotonic() - begun < 10:
        yield b"x"
        time.sleep(0.05)
