"""What keeps failing is left out, what is too much is refused: real Envoys, real instances that die and return."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from policyd.base.clock import SystemClock
from policyd.compiler.naming import cluster_name
from policyd.model.node import Node, nodes
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, SuccessRate, Timeouts
from policyd.model.service import HealthCheck, Service
from policyd.telemetry.envoy import EnvoyStats
from policyd.telemetry.source import ClusterCounters
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, loopback, running, serving_application

pytestmark = pytest.mark.e2e

CLUSTER = cluster_name(PAYMENTS, "v1")


@contextmanager
def calling(binary: Path, offset: int, instances: int, **changed: object) -> Iterator[tuple[RealMesh, Connection]]:
    """`web`, which calls so many instances of `payments`."""
    net = loopback(os.getpid() + offset)
    payments: Service = replace(service(PAYMENTS, v1=[f"{net}{n + 1}" for n in range(instances)]), **changed)  # type: ignore[arg-type]
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    caller = the_mesh.services[WEB].versions[0].endpoints[0]
    with running(the_mesh, Envoys(binary)) as world, world.app_of(caller) as web:
        yield world, web


def node_of(world: RealMesh, number: int = 0) -> Node:
    """One instance of `payments`."""
    return [node for node in nodes(world.mesh) if node.service == PAYMENTS][number]


def counter(world: RealMesh, name: str) -> int:
    """A statistic of the caller's sidecar about the cluster of `payments`."""
    caller = next(node for node in nodes(world.mesh) if node.service == WEB)
    transport = httpx.HTTPTransport(uds=str(socket_of(world, caller)))
    full = f"cluster.{CLUSTER}.{name}"
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        found = admin.get("/stats", params={"filter": f"^{full}$", "format": "json"}).json()["stats"]
    return sum(each["value"] for each in found if each.get("name") == full)


def read(world: RealMesh) -> ClusterCounters:
    """What the controller's reader finds at the caller about the cluster of `payments`."""
    caller = next(node for node in nodes(world.mesh) if node.service == WEB)

    async def reading() -> ClusterCounters:
        stats = EnvoyStats({caller.id: f"unix:{socket_of(world, caller)}"}, SystemClock())
        found = await stats.read([caller.id])
        await stats.aclose()
        return found.nodes[caller.id].clusters[CLUSTER]

    return asyncio.run(reading())


def served(world: RealMesh, path: str, total: int) -> dict[str, int]:
    """How many of `total` requests for a path each instance was asked, once all stand in the logs."""
    world.arrived(path, total)
    listed = [node.id for node in nodes(world.mesh) if node.service == PAYMENTS]
    return {node: world.logs[node].read_text().count(f'"{path}"') for node in listed}


def test_an_instance_that_keeps_failing_is_left_out_and_comes_back(envoy_binary: Path) -> None:
    detection = OutlierDetection(consecutive_errors=3, interval_ms=100, base_ms=5_000, max_ejected=3_400)
    with calling(envoy_binary, 130, 3, resilience=Resilience(outlier_detection=detection)) as (world, web):
        flapping = node_of(world)
        world.stop_application(flapping.id)
        asked = []
        while not counter(world, "outlier_detection.ejections_active"):
            asked.append(web.send("GET", "/before").status)
            assert len(asked) < 300, "nobody is left out"
        assert asked.count(503) == detection.consecutive_errors
        assert read(world).left_out == 1
        assert {web.send("GET", "/without").status for _ in range(40)} == {200}
        assert served(world, "/without", 40)[flapping.id] == 0
        with serving_application(flapping):
            world.until(lambda: web.send("GET", "/again").status == 200 and _asked(world, flapping, "/again"))
            assert {web.send("GET", "/after").status for _ in range(20)} == {200}


def _asked(world: RealMesh, node: Node, path: str) -> bool:
    return f'"{path}"' in world.logs[node.id].read_text()


def test_never_more_instances_are_left_out_than_the_share(envoy_binary: Path) -> None:
    detection = OutlierDetection(consecutive_gateway_errors=2, interval_ms=100, base_ms=60_000, max_ejected=5_000)
    with calling(envoy_binary, 134, 2, resilience=Resilience(outlier_detection=detection)) as (world, web):
        for number in (0, 1):
            world.stop_application(node_of(world, number).id)
        assert {web.send("GET", "/all-down").status for _ in range(40)} == {503}
        assert counter(world, "outlier_detection.ejections_active") == 1
        assert counter(world, "outlier_detection.ejections_overflow") > 0


def test_an_instance_with_a_worse_success_rate_is_left_out(envoy_binary: Path) -> None:
    rate = SuccessRate(deviations=1_000, instances=3, requests=10)
    detection = OutlierDetection(success_rate=rate, interval_ms=300, base_ms=60_000, max_ejected=3_400)
    with calling(envoy_binary, 142, 3, resilience=Resilience(outlier_detection=detection)) as (world, web):
        worse = node_of(world)
        failing = {"x-test-failing": worse.endpoint.address}
        asked = []
        while not counter(world, "outlier_detection.ejections_active"):
            asked += [web.send("GET", "/before", headers=failing).status for _ in range(60)]
            assert len(asked) < 3_000, "nobody is left out"
        assert 500 in asked
        assert counter(world, "outlier_detection.ejections_enforced_success_rate") == 1
        assert {web.send("GET", "/without", headers=failing).status for _ in range(40)} == {200}
        assert served(world, "/without", 40)[worse.id] == 0


def test_an_error_of_the_application_is_no_gateway_error(envoy_binary: Path) -> None:
    detection = OutlierDetection(consecutive_gateway_errors=2, interval_ms=100, base_ms=60_000, max_ejected=5_000)
    with calling(envoy_binary, 138, 2, resilience=Resilience(outlier_detection=detection)) as (world, web):
        failing = {"x-test-status": "500"}
        assert {web.send("GET", "/own", headers=failing).status for _ in range(20)} == {500}
        assert counter(world, "outlier_detection.ejections_active") == 0


def test_who_passes_his_check_and_fails_his_calls_stays_out(envoy_binary: Path) -> None:
    detection = OutlierDetection(consecutive_errors=3, interval_ms=100, base_ms=60_000, max_ejected=5_000)
    check = HealthCheck("/healthz", interval_ms=100, timeout_ms=500)
    asked = Resilience(outlier_detection=detection)
    with calling(envoy_binary, 280, 2, resilience=asked, health_check=check) as (world, web):
        failing = {"x-test-failing": node_of(world).endpoint.address}
        assert {web.send("GET", "/x", headers=failing).status for _ in range(40)} <= {200, 500}
        world.until(lambda: counter(world, "outlier_detection.ejections_active") == 1)
        passed = counter(world, "health_check.success")
        world.until(lambda: counter(world, "health_check.success") >= passed + 6)
        assert counter(world, "outlier_detection.ejections_active") == 1
        assert {web.send("GET", "/without", headers=failing).status for _ in range(20)} == {200}


def test_an_instance_that_does_not_answer_its_check_in_time_gets_no_calls(envoy_binary: Path) -> None:
    check = HealthCheck("/healthz", interval_ms=200, timeout_ms=200, unhealthy_threshold=1)
    with calling(envoy_binary, 284, 2, health_check=check) as (world, web):
        world.processes[node_of(world).id].send_signal(signal.SIGSTOP)
        world.until(lambda: counter(world, "membership_healthy") == 1)
        assert {web.send("GET", "/without").status for _ in range(10)} == {200}


def test_a_breaker_opens_and_closes(envoy_binary: Path) -> None:
    breaker = CircuitBreaker(connections=1, requests=1)
    with calling(envoy_binary, 142, 1, resilience=Resilience(circuit_breaker=breaker)) as (world, web):
        caller = world.mesh.services[WEB].versions[0].endpoints[0]
        with world.app_of(caller) as slow, ThreadPoolExecutor(1) as aside:
            held = aside.submit(slow.send, "GET", "/slow", headers={"x-test-delay": "3"})
            world.until(lambda: len(world.waiting(PAYMENTS, "/slow")) == 1)
            assert counter(world, "circuit_breakers.default.rq_open") == 1
            assert read(world).open_circuits == 1
            refused = web.send("GET", "/too-much")
            assert (refused.status, "overflow" in refused.body["error"]["reason"]) == (503, True)
            assert held.result().status == 200
        line = world.logged(_web(world), "/too-much")
        assert (line["flags"], line["node"]) == ("UO", _web(world))
        assert web.send("GET", "/fits").status == 200
        assert counter(world, "circuit_breakers.default.rq_open") == 0
        assert counter(world, "circuit_breakers.default.cx_open") == 1
        assert read(world).open_circuits == 0


def _web(world: RealMesh) -> str:
    return next(node.id for node in nodes(world.mesh) if node.service == WEB)


def test_only_so_many_wait_for_a_connection(envoy_binary: Path) -> None:
    resilience = Resilience(Timeouts(connect_ms=4_000), circuit_breaker=CircuitBreaker(pending=1))
    with calling(envoy_binary, 146, 1, resilience=resilience) as (world, web):
        gone = node_of(world)
        world.processes[gone.id].terminate()
        world.processes[gone.id].wait()
        caller = world.mesh.services[WEB].versions[0].endpoints[0]
        mute = socket.create_server((gone.endpoint.address, world.mesh.settings.inbound_port))
        with mute, world.app_of(caller) as waiting, ThreadPoolExecutor(1) as aside:
            held = aside.submit(waiting.send, "GET", "/waits")
            world.until(lambda: counter(world, "upstream_rq_pending_active") == 1)
            assert web.send("GET", "/too-many").status == 503
            assert held.result().status == 503
        assert world.logged(_web(world), "/too-many")["flags"] == "UO"
        assert "UO" not in world.logged(_web(world), "/waits")["flags"]
