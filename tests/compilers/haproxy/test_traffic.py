"""What only HAProxy's own counters and signals can show: a version's counters, a rule's counters, a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.model.access import Mode
from policyd.model.resilience import CircuitBreaker, Resilience
from policyd.model.service import HealthCheck, Split
from tests.compilers.haproxy.proxies import HAProxies, asked, statistics
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 40)


@pytest.fixture
def world(haproxy_binary: Path) -> Iterator[RealMesh]:
    payments = replace(service(PAYMENTS, v1=[NET + "1"], v2=[NET + "2"]), split=Split((("v1", 8_000), ("v2", 2_000))))
    the_mesh = mesh(
        [payments, service(WEB, v1=[NET + "3"])],
        (PAYMENTS, rule(PAYMENTS, methods=("GET",), paths=("/v1/**",))),
        (PAYMENTS, rule(PAYMENTS, methods=("GET",), paths=("/watched",), name="watch", mode=Mode.OBSERVE)),
    )
    with running(the_mesh, HAProxies(haproxy_binary)) as started:
        yield started


def web_id() -> str:
    return f"shop/web/v1/{NET}3"


def backends(world: RealMesh, node_id: str) -> dict[str, dict[str, str]]:
    return {row["pxname"]: row for row in statistics(world, node_id) if row["svname"] == "BACKEND"}


def test_each_version_has_counters_of_its_own(world: RealMesh) -> None:
    endpoint = world.mesh.services[WEB].versions[0].endpoints[0]
    with world.app_of(endpoint) as web:
        got = [web.send("GET", "/v1/x").body["version"] for _ in range(500)]
        for _ in range(3):
            assert web.send("GET", "/v1/x", headers={"x-test-status": "500"}).status == 500
    counted = backends(world, web_id())
    total = {version: int(counted[f"pay.payments.{version}"]["hrsp_2xx"]) for version in ("v1", "v2")}
    assert total == {version: got.count(version) for version in ("v1", "v2")}
    assert 55 <= total["v2"] <= 145  # 20 % of 500, 5 standard deviations either way
    assert sum(int(counted[f"pay.payments.{version}"]["hrsp_5xx"]) for version in ("v1", "v2")) == 3


def test_decisions_are_counted_by_rule_and_by_reason(world: RealMesh) -> None:
    endpoint = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    with world.peer_of(endpoint, WEB) as peer:
        for path in ("/v1/a", "/v1/b", "/watched", "/other", "/v1//x"):
            peer.send("GET", path)
    table = asked(world, f"pay/payments/v1/{NET}1", "show table decisions")
    counted = {
        line.split("key=")[1].split(" use=")[0].split("#")[0].replace("\\ ", " "): int(line.rsplit("=", 1)[1])
        for line in table.splitlines()
        if "key=" in line
    }
    assert counted == {
        "pay/rule": 2,
        "no-rule-for-request": 2,
        "not-canonical": 1,
        "would-allow pay/watch": 1,
    }


def test_an_instance_that_fails_its_check_gets_no_requests(haproxy_binary: Path) -> None:
    """The check goes through the callee's sidecar, whose application answers 200 to everything, and then ends."""
    net = loopback(os.getpid() + 60)
    check = HealthCheck("/healthz", interval_ms=100, timeout_ms=500, unhealthy_threshold=2)
    payments = replace(service(PAYMENTS, v1=[net + "1", net + "2"]), health_check=check)
    the_mesh = mesh([payments, service(WEB, v1=[net + "3"])], (PAYMENTS, rule(PAYMENTS)))
    with running(the_mesh, HAProxies(haproxy_binary)) as world:
        caller = f"shop/web/v1/{net}3"
        world.stop_application(f"pay/payments/v1/{net}1")
        world.until(lambda: _down(world, caller))
        endpoint = the_mesh.services[WEB].versions[0].endpoints[0]
        with world.app_of(endpoint) as web:
            assert {web.send("GET", "/x").status for _ in range(20)} == {200}


def test_an_instance_that_stood_still_is_called_again(haproxy_binary: Path) -> None:
    """It is asked again at least every second while it is down, so that a pause costs little more than itself."""
    net = loopback(os.getpid() + 50)
    check = HealthCheck("/healthz", interval_ms=100, timeout_ms=200, unhealthy_threshold=2)
    payments = replace(service(PAYMENTS, v1=[net + "1"]), health_check=check)
    the_mesh = mesh([payments, service(WEB, v1=[net + "3"])], (PAYMENTS, rule(PAYMENTS)))
    endpoint = the_mesh.services[WEB].versions[0].endpoints[0]
    with running(the_mesh, HAProxies(haproxy_binary)) as world, world.app_of(endpoint) as web:
        still = world.processes[f"pay/payments/v1/{net}1"]
        still.send_signal(signal.SIGSTOP)
        world.until(lambda: _down(world, f"shop/web/v1/{net}3"))
        assert web.send("GET", "/x").status == 503
        still.send_signal(signal.SIGCONT)
        world.until(lambda: web.send("GET", "/x").status == 200)


def _down(world: RealMesh, caller: str) -> bool:
    rows = statistics(world, caller)
    return any(row["pxname"] == "pay.payments.v1" and row["status"].startswith("DOWN") for row in rows)


def test_a_process_that_was_replaced_ends_with_its_idle_connections(world: RealMesh) -> None:
    """So old rules do not live on in connections that callers keep; busy ones end at `hard-stop-after`."""
    node = f"pay/payments/v1/{NET}1"
    endpoint = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    with world.peer_of(endpoint, WEB) as peer:
        assert peer.send("GET", "/v1/a").status == 200
        world.processes[node].send_signal(signal.SIGUSR1)
        assert world.processes[node].wait(timeout=20) == 0
        with pytest.raises(OSError):
            peer.send("GET", "/v1/a")


def test_a_breaker_opens_and_closes(haproxy_binary: Path) -> None:
    net = loopback(os.getpid() + 44)
    resilience = Resilience(circuit_breaker=CircuitBreaker(requests=1))
    payments = replace(service(PAYMENTS, v1=[net + "1"]), resilience=resilience)
    the_mesh = mesh([payments, service(WEB, v1=[net + "2"])], (PAYMENTS, rule(PAYMENTS)))
    caller = the_mesh.services[WEB].versions[0].endpoints[0]
    with running(the_mesh, HAProxies(haproxy_binary)) as world, world.app_of(caller) as web:
        with world.app_of(caller) as slow, ThreadPoolExecutor(1) as aside:
            held = aside.submit(slow.send, "GET", "/slow", headers={"x-test-delay": "3"})
            world.until(lambda: len(world.waiting(PAYMENTS, "/slow")) == 1)
            refused = web.send("GET", "/too-much")
            assert (refused.status, refused.body["error"]["reason"]) == (503, "overflow")
            assert held.result().status == 200
        assert world.logged(f"shop/web/v1/{net}2", "/too-much")["flags"] == "PR"  # refused by the proxy
        assert web.send("GET", "/fits").status == 200
