"""Zones, panic and warming up: a caller's real Envoy among instances that die and return."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from envoy.config.cluster.v3 import cluster_pb2

from policyd.compiler.memo import Memo
from policyd.compiler.naming import cluster_name
from policyd.model.balancing import LoadBalancing, Policy, SlowStart, ZonePreference
from policyd.model.mesh import Mesh
from policyd.model.node import nodes
from policyd.model.resilience import Resilience
from policyd.model.service import HealthCheck, Version
from policyd_compilers.envoy import COMPILER, balancing
from policyd_compilers.envoy.proto import ENDPOINTS
from policyd_compilers.envoy.render import parse
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import PAYMENTS, WEB, endpoint, mesh, rule, service
from tests.compilers.world import Connection, RealMesh, loopback, running, serving_application

CHECK = HealthCheck("/healthz", interval_ms=100, timeout_ms=500, unhealthy_threshold=1)
CALLS = 60


def zoned(net: str, zones: str, caller: str, prefer: ZonePreference) -> Mesh:
    """An instance of `payments` for each letter of `zones`, and one of `web` in the zone `caller`."""
    version = Version("v1", tuple(endpoint(f"{net}{n}", zone) for n, zone in enumerate(zones, 1)))
    resilience = Resilience(load_balancing=LoadBalancing(zone=prefer))
    payments = replace(service(PAYMENTS, v1=[]), versions=(version,), resilience=resilience, health_check=CHECK)
    web = replace(service(WEB, v1=[]), versions=(Version("v1", (endpoint(f"{net}9", caller),)),))
    return mesh([payments, web], (PAYMENTS, rule(PAYMENTS)))


@contextmanager
def calling(binary: Path, the_mesh: Mesh) -> Iterator[tuple[RealMesh, Connection]]:
    """`web`, on its own connection, in the running mesh."""
    caller = the_mesh.services[WEB].versions[0].endpoints[0]
    with running(the_mesh, Envoys(binary)) as world, world.app_of(caller) as web:
        yield world, web


def shares(web: Connection) -> Counter[str]:
    """Who answered how many of so many calls, by the last part of the address."""
    replies = [web.send("GET", "/") for _ in range(CALLS)]
    return Counter(
        reply.body["instance"].rpartition(".")[2] if reply.status == 200 else str(reply.status) for reply in replies
    )


def stop(world: RealMesh, number: int) -> None:
    """End one instance of `payments`, sidecar and all."""
    node = [node for node in nodes(world.mesh) if node.service == PAYMENTS][number]
    world.processes[node.id].kill()


@pytest.mark.e2e
def test_calls_stay_in_the_zone_and_overflow_when_it_is_weak(envoy_binary: Path) -> None:
    the_mesh = zoned(loopback(os.getpid() + 222), "aabb", "a", ZonePreference(2, 10_000))
    with calling(envoy_binary, the_mesh) as (world, web):
        assert set(shares(web)) == {"1", "2"}
        stop(world, 0)
        world.until(lambda: "503" not in shares(web))
        weak = shares(web)
        assert set(weak) == {"2", "3", "4"}
        assert 11 <= weak["2"] <= 49  # half of 60, 5 standard deviations either way
        stop(world, 1)
        world.until(lambda: set(shares(web)) == {"3", "4"})


@pytest.mark.e2e
def test_a_zone_that_is_healthy_enough_keeps_every_call(envoy_binary: Path) -> None:
    the_mesh = zoned(loopback(os.getpid() + 234), "aabb", "a", ZonePreference(2, 5_000))
    with calling(envoy_binary, the_mesh) as (world, web):
        stop(world, 0)
        world.until(lambda: membership_healthy(world) == 3)
        world.until(lambda: set(shares(web)) == {"2"})


@pytest.mark.e2e
@pytest.mark.parametrize(("panic", "gone", "called"), [(0, 2, {"3"}), (7_000, 1, {"2", "3", "503"})])
def test_in_panic_who_is_unhealthy_is_called_too(envoy_binary: Path, panic: int, gone: int, called: set[str]) -> None:
    """Envoy's own threshold is 50 %: it would panic with one of three, and would not with two."""
    net = loopback(os.getpid() + 226 + gone)
    addresses = [f"{net}{number}" for number in (1, 2, 3)]
    payments = replace(service(PAYMENTS, v1=addresses), resilience=Resilience(panic=panic), health_check=CHECK)
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    with calling(envoy_binary, the_mesh) as (world, web):
        for number in range(gone):
            stop(world, number)
        world.until(lambda: membership_healthy(world) == 3 - gone)
        world.until(lambda: set(shares(web)) == called)
        assert set(shares(web)) == called


def membership_healthy(world: RealMesh) -> int:
    """How many instances of `payments` pass their checks, for `web`."""
    caller = next(node for node in nodes(world.mesh) if node.service == WEB)
    transport = httpx.HTTPTransport(uds=str(socket_of(world, caller)))
    name = f"cluster.{cluster_name(PAYMENTS, 'v1')}.membership_healthy"
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        found = admin.get("/stats", params={"filter": f"^{name}$", "format": "json"}).json()["stats"]
    return next(int(each["value"]) for each in found if each.get("name") == name)


def assignment(the_mesh: Mesh) -> dict[str, int]:
    """The priority of each zone, as the sidecar of `web` gets it."""
    caller = next(node for node in nodes(the_mesh) if node.service == WEB)
    found = COMPILER.compile(the_mesh, caller, Memo()).artifacts
    message = parse(next(each for each in found if each.kind == ENDPOINTS))
    return {group.locality.zone: group.priority for group in message.endpoints}


@pytest.mark.parametrize(
    ("zones", "caller", "priorities"),
    [
        ("aabb", "a", {"a": 0, "b": 1}),
        ("aabb", "b", {"a": 1, "b": 0}),
        ("abbb", "a", {"a": 0, "b": 0}),
        ("aabb", "", {"a": 0, "b": 0}),
        ("aabb", "c", {"a": 0, "b": 0}),
    ],
)
def test_a_zone_is_preferred_by_who_is_in_it_if_it_has_instances_enough(
    zones: str, caller: str, priorities: dict[str, int]
) -> None:
    assert assignment(zoned("10.0.1.", zones, caller, ZonePreference(2, 7_000))) == priorities


def test_callers_of_one_zone_share_what_they_get() -> None:
    base = zoned("10.0.1.", "aabb", "a", ZonePreference(2, 7_000))
    web = replace(
        base.services[WEB],
        versions=(Version("v1", tuple(endpoint(f"10.0.2.{n}", zone) for n, zone in enumerate("aab", 1))),),
    )
    the_mesh, memo = mesh([base.services[PAYMENTS], web], (PAYMENTS, rule(PAYMENTS))), Memo()
    made = [COMPILER.compile(the_mesh, node, memo).artifacts for node in nodes(the_mesh) if node.service == WEB]
    one, same, other = (next(each for each in artifacts if each.kind == ENDPOINTS) for artifacts in made)
    assert one is same
    assert one != other


@pytest.mark.parametrize("policy", [Policy.LEAST_REQUEST, Policy.ROUND_ROBIN])
def test_what_warms_up_is_said(policy: Policy) -> None:
    message = cluster_pb2.Cluster()
    balancing.balance(message, LoadBalancing(policy, slow_start=SlowStart(30_000, 1_500)), panic=0)
    configured = message.WhichOneof("lb_config")
    slow = getattr(message, configured).slow_start_config
    assert (slow.slow_start_window.seconds, slow.aggression.default_value) == (30, 1.5)
    assert slow.min_weight_percent.value == balancing.LEAST_WEIGHT


@pytest.mark.e2e
def test_an_instance_that_comes_back_warms_up(envoy_binary: Path) -> None:
    """Two instances share evenly; one that has just come back gets little, though it is as healthy as the other."""
    net, window_ms = loopback(os.getpid() + 290), 6_000
    slow = Resilience(load_balancing=LoadBalancing(slow_start=SlowStart(window_ms)))
    payments = replace(service(PAYMENTS, v1=[f"{net}1", f"{net}2"]), resilience=slow, health_check=CHECK)
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    with calling(envoy_binary, the_mesh) as (world, web):
        began = time.monotonic()
        back = next(node for node in nodes(the_mesh) if node.service == PAYMENTS)
        world.stop_application(back.id)
        world.until(lambda: shares(web) == {"2": CALLS})
        # Both warmed up when the mesh began: the one that stays has to be done with it.
        world.until(lambda: (time.monotonic() - began) * 1_000 > window_ms)
        with serving_application(back):
            world.until(lambda: "1" in shares(web))
            found = shares(web)
            assert set(found) == {"1", "2"}
            assert found["1"] < 0.35 * CALLS
