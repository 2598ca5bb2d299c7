"""A service goes down under load and others answer in its place: real Envoys, real instances that die and return."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from policyd.compiler.naming import cluster_name, failover_name
from policyd.model.failover import Fallback
from policyd.model.names import Name
from policyd.model.node import Node, nodes
from policyd.model.service import Endpoint, HealthCheck, Protocol, Service, Split, Version
from policyd.telemetry.counters import difference
from policyd.telemetry.envoy import parse_stats
from policyd.telemetry.source import Reading
from policyd.telemetry.windows import by_version
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule
from tests.compilers.meshes import service as plain
from tests.compilers.world import RealMesh, loopback, running, serving_application

pytestmark = pytest.mark.e2e

STANDBY = Name("pay", "standby")
CHECK = HealthCheck("/healthz", interval_ms=1_000, timeout_ms=500)
CLIENTS = 6
Zoned = tuple[str, str]
"""The last part of an address, and a zone."""


def service(name: Name, net: str, *, check: HealthCheck | None = CHECK, **versions: list[Zoned]) -> Service:
    """A service with instances in zones; the version that is named first serves."""
    made = tuple(
        Version(version, tuple(Endpoint(f"{net}{end}", f"{net}{end}", 8080, zone) for end, zone in ends))
        for version, ends in sorted(versions.items())
    )
    return Service(name, Protocol.HTTP, 8080, made, Split.all_to(next(iter(versions))), health_check=check)


@dataclass
class Load:
    """Clients of `web` that never stop asking; `answers` are version (who answered) or status, counted."""

    world: RealMesh
    answers: Counter[str] = field(default_factory=Counter)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def fresh(self) -> None:
        """Count from now on."""
        self.answers.clear()

    def until(self, who: str, times: int) -> None:
        """Wait until somebody has answered so often."""
        self.world.until(lambda: self.answers[who] >= times)

    def ask(self, endpoint: Endpoint) -> None:
        """One client's life."""
        with self.world.app_of(endpoint) as web:
            while not self._stopped.is_set():
                reply = web.send("GET", "/load")
                self.answers[reply.body["version"] if reply.status == 200 else str(reply.status)] += 1
                self._stopped.wait(0.005)

    def stop(self) -> None:
        """Let the clients go."""
        self._stopped.set()


@contextmanager
def loaded(world: RealMesh) -> Iterator[Load]:
    """Load from `web`'s first instance."""
    load = Load(world)
    endpoint = world.mesh.services[WEB].versions[0].endpoints[0]
    clients = [threading.Thread(target=load.ask, args=(endpoint,), daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        load.stop()
        for client in clients:
            client.join()


def instances(world: RealMesh, service: Name, version: str = "") -> list[Node]:
    return [node for node in nodes(world.mesh) if node.service == service and version in {"", node.version}]


def reading(world: RealMesh, at_s: float) -> Reading:
    """What the sidecar of `web` has counted."""
    (web,) = instances(world, WEB)
    transport = httpx.HTTPTransport(uds=str(socket_of(world, web)))
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        query = {"format": "json", "usedonly": "", "histogram_buckets": "cumulative"}
        return Reading(at_s, {web.id: parse_stats(admin.get("/stats", params=query).content)})


def gauge(world: RealMesh, cluster: str, name: str) -> int:
    """A statistic of the sidecar of `web` about a cluster."""
    (web,) = instances(world, WEB)
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket_of(world, web))), base_url="http://admin"
    ) as admin:
        full = f"cluster.{cluster}.{name}"
        found = admin.get("/stats", params={"filter": f"^{full}$", "format": "json"}).json()["stats"]
    return sum(each["value"] for each in found if each.get("name") == full)


def ejected(world: RealMesh) -> int:
    """How many instances of `payments` the sidecar of `web` leaves out."""
    return gauge(world, cluster_name(PAYMENTS, "v1"), "outlier_detection.ejections_active")


def stop_applications(world: RealMesh, down: list[Node]) -> None:
    for node in down:
        world.stop_application(node.id)


def kill_sidecars(world: RealMesh, down: list[Node]) -> None:
    for node in down:
        world.processes[node.id].kill()
        world.processes[node.id].wait()


@pytest.mark.parametrize("goes_down", [stop_applications, kill_sidecars])
def test_calls_go_on_at_another_service_and_none_is_lost(
    envoy_binary: Path, goes_down: Callable[[RealMesh, list[Node]], None]
) -> None:
    net = loopback(os.getpid() + 160)
    payments = replace(service(PAYMENTS, net, v1=[("1", ""), ("2", "")]), failover=(Fallback(service=STANDBY),))
    standby = service(STANDBY, net, standby=[("3", ""), ("4", "")])
    the_mesh = mesh(
        [payments, standby, plain(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)), (STANDBY, rule(STANDBY))
    )
    with running(the_mesh, Envoys(envoy_binary)) as world, loaded(world) as load, ExitStack() as back:
        load.until("v1", 100)
        assert set(load.answers) == {"v1"}, "nobody is led on while all is well"
        down = instances(world, PAYMENTS)
        before = reading(world, 0.0)
        goes_down(world, down)
        load.until("standby", 300)
        assert set(load.answers) == {"v1", "standby"}, load.answers
        (stratum,) = by_version(difference(before, reading(world, 1.0)), PAYMENTS, "v1", "none")
        assert stratum.canary.requests >= 300
        assert stratum.canary.errors >= 300, "who was answered by another is counted against the version"
        if goes_down is stop_applications:
            for node in down:
                back.enter_context(serving_application(node))
            load.fresh()
            load.until("v1", 300)
            assert set(load.answers) <= {"v1", "standby"}
            load.fresh()
            load.until("v1", 100)
            assert set(load.answers) == {"v1"}, "all have come back"


def test_without_a_health_check_the_failures_themselves_lead_on_and_a_try_brings_back(envoy_binary: Path) -> None:
    net = loopback(os.getpid() + 172)
    payments = replace(
        service(PAYMENTS, net, check=None, v1=[("1", ""), ("2", "")]), failover=(Fallback(service=STANDBY),)
    )
    the_mesh = mesh(
        [payments, service(STANDBY, net, check=None, standby=[("3", "")]), plain(WEB, v1=[f"{net}9"])],
        (PAYMENTS, rule(PAYMENTS)),
        (STANDBY, rule(STANDBY)),
    )
    with running(the_mesh, Envoys(envoy_binary)) as world, loaded(world) as load, ExitStack() as back:
        load.until("v1", 50)
        down = instances(world, PAYMENTS)
        stop_applications(world, down)
        world.until(lambda: ejected(world) == len(down))
        for node in down:
            back.enter_context(serving_application(node))
        world.until(lambda: ejected(world) == 0)
        load.fresh()
        load.until("v1", 200)
        assert set(load.answers) <= {"v1", "standby"}, load.answers


def test_nobody_is_led_where_he_has_no_rule_of_his_own(envoy_binary: Path) -> None:
    net = loopback(os.getpid() + 164)
    payments = replace(service(PAYMENTS, net, v1=[("1", "")]), failover=(Fallback(service=STANDBY),))
    other = Name("shop", "other")
    the_mesh = mesh(
        [payments, service(STANDBY, net, standby=[("3", "")]), plain(WEB, v1=[f"{net}9"]), plain(other, v1=[])],
        (PAYMENTS, rule(PAYMENTS)),
        (STANDBY, rule(STANDBY, sources=[replace(rule(STANDBY).sources[0], services=(other,))])),
    )
    with running(the_mesh, Envoys(envoy_binary)) as world, loaded(world) as load:
        load.until("v1", 20)
        stop_applications(world, instances(world, PAYMENTS))
        load.until("503", 50)
        assert set(load.answers) == {"v1", "503"}
        (standby,) = instances(world, STANDBY)
        assert '"/load"' not in world.logs[standby.id].read_text()
        (web,) = instances(world, WEB)
        assert failover_name(PAYMENTS, "v1") not in world.logs[web.id].read_text()


def test_a_version_is_left_when_its_last_instance_is_down_and_then_a_zone(envoy_binary: Path) -> None:
    """In the order of the intent, and no sooner than nobody before is up."""
    net = loopback(os.getpid() + 168)
    payments = replace(
        service(PAYMENTS, net, v2=[("1", "a"), ("2", "a"), ("3", "b")], v1=[("4", "")]),
        failover=(Fallback(version="v1"), Fallback(zone="b")),
    )
    the_mesh = mesh([payments, plain(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    with running(the_mesh, Envoys(envoy_binary)) as world, loaded(world) as load:
        first, second, standing_by = instances(world, PAYMENTS, "v2")
        load.until("v2", 50)
        stop_applications(world, [first])
        world.until(lambda: gauge(world, cluster_name(PAYMENTS, "v2"), "membership_healthy") == 1)
        load.fresh()
        load.until("v2", 300)
        assert set(load.answers) == {"v2"}, "one of two is up"
        stop_applications(world, [second])
        load.until("v1", 300)
        assert '"/load"' not in world.logs[standing_by.id].read_text()
        load.fresh()
        stop_applications(world, instances(world, PAYMENTS, "v1"))
        load.until("v2", 300)
        assert set(load.answers) <= {"v1", "v2"}, load.answers
        assert world.logs[standing_by.id].read_text().count('"/load"') >= 250
