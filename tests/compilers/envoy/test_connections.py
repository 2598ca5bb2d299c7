"""`tcp` services: real Envoys on both sides, a real echo behind them, and everything that a mesh promises of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policyd.base.clock import SystemClock
from policyd.compiler.memo import Memo
from policyd.model.access import Permit, Rule, Source
from policyd.model.failover import Fallback
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.node import Node, nodes
from policyd.model.resilience import CircuitBreaker, Resilience, Timeouts
from policyd.model.service import HealthCheck, Probe, Protocol, Service, Split
from policyd.telemetry.envoy import EnvoyStats
from policyd.telemetry.source import ClusterCounters
from policyd_compilers.envoy import COMPILER
from policyd_compilers.envoy.proto import LISTENER
from policyd_compilers.envoy.render import parse
from tests.compilers.envoy.echoing import Heard
from tests.compilers.envoy.live import LiveEnvoys, live
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import SETTINGS, WEB, mesh, service, with_service
from tests.compilers.world import RealMesh, loopback, running

DB, OTHER = Name("shop", "db"), Name("shop", "other")
PORT = 5432
HALF = Split((("v1", 5_000), ("v2", 5_000)))
CHECK = HealthCheck("", interval_ms=500, timeout_ms=500, unhealthy_threshold=1, probe=Probe.TCP)


def database(name: Name = DB, **versions: list[str]) -> Service:
    """A service that takes connections."""
    made = service(name, **versions)
    apps = tuple(
        replace(each, endpoints=tuple(replace(one, app_port=PORT) for one in each.endpoints))
        for each in made.versions
    )
    return replace(made, protocol=Protocol.TCP, port=PORT, versions=apps, health_check=CHECK)


def connecting(to: Name = DB, *callers: Name, name: str = "rule") -> Rule:
    """Whoever of `callers` (`web`) may connect."""
    return Rule(Name(to.namespace, name), (Source(services=callers or (WEB,)),), (Permit.of_connections(),))


def shop(net: str) -> Mesh:
    """`web` may connect to `db`, which has two versions; `other` may not."""
    services = [service(WEB, v1=[f"{net}1"]), service(OTHER, v1=[f"{net}2"])]
    services.append(database(v1=[f"{net}3"], v2=[f"{net}4"]))
    return mesh(services, (DB, connecting()))


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def envoys(envoy_binary: Path) -> Iterator[LiveEnvoys]:
    with live(envoy_binary) as found:
        yield found


@pytest.fixture(scope="module")
def world(envoys: LiveEnvoys, heard: Heard) -> Iterator[RealMesh]:
    with running(shop(loopback(os.getpid() + 340)), envoys, serving=heard.serving) as found:
        yield found


def dial(world: RealMesh, caller: Name = WEB, port: int = PORT) -> socket.socket:
    """A connection as the application of `caller` opens it: to its own sidecar."""
    (instance,) = world.mesh.services[caller].versions[0].endpoints
    return socket.create_connection((instance.address, port), timeout=10)


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side has ended."""
    found = []
    while some := connection.recv(1 << 16):
        found.append(some)
    return b"".join(found)


@pytest.mark.e2e
def test_bytes_pass_both_ways_and_each_side_ends_for_itself(world: RealMesh, heard: Heard) -> None:
    with dial(world) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        connection.sendall(b" again")
        connection.shutdown(socket.SHUT_WR)
        assert all_of(connection) == b" again/bye"
    world.until(lambda: b"hello again" in heard.said)


@pytest.mark.e2e
def test_ten_megabytes_come_back_as_they_went(world: RealMesh) -> None:
    sent = os.urandom(1 << 20) * 10

    def send(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

    with dial(world) as connection:
        threading.Thread(target=send, args=(connection,)).start()
        assert all_of(connection) == sent + b"/bye"


@pytest.mark.e2e
def test_who_has_no_rule_has_no_way_and_is_denied_where_he_finds_one(world: RealMesh, heard: Heard) -> None:
    with pytest.raises(ConnectionRefusedError):
        dial(world, OTHER)
    before = len(heard.opened)
    (endpoint,) = world.mesh.services[DB].versions[0].endpoints
    with world.peer_of(endpoint, OTHER) as peer:
        denied = peer.send("CONNECT", "db:5432", "db:5432")
    assert (denied.status, denied.body["error"]["reason"]) == (403, "no-rule-for-caller")
    with world.peer_of(endpoint, WEB) as peer:
        assert peer.send("GET", "/", "db").status == 400
    with world.app_of(world.mesh.services[OTHER].versions[0].endpoints[0]) as app:
        assert app.send("CONNECT", "db:5432", "db:5432").status == 404
    assert len(heard.opened) == before


@pytest.mark.e2e
def test_a_server_that_speaks_first_says_nothing_to_who_is_denied(
    world: RealMesh, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heard, "first", b"220 ready\r\n")
    with dial(world) as connection:
        assert connection.recv(64) == b"220 ready\r\n"
    (endpoint,) = world.mesh.services[DB].versions[0].endpoints
    with world.peer_of(endpoint, OTHER) as peer:
        assert "220" not in str(peer.send("CONNECT", "db:5432", "db:5432"))


@pytest.mark.e2e
def test_the_log_says_who_connected_by_which_rule_and_how_much_passed(world: RealMesh) -> None:
    with dial(world) as connection:
        connection.sendall(b"x" * 12_345)
        connection.shutdown(socket.SHUT_WR)
        all_of(connection)

    def lines(listener: str) -> list[dict[str, object]]:
        found = [json.loads(line) for log in world.logs.values() for line in log.read_text().splitlines()]
        return [each for each in found if each["listener"] == listener and each["bytes_in"] == 12_345]

    world.until(lambda: len(lines("inbound")) == len(lines("outbound")) == 1)
    (there,), (here,) = lines("inbound"), lines("outbound")
    assert there["caller"] == spiffe_id(SETTINGS.trust_domain, WEB)
    assert str(there["rule"]).partition("#")[0] == "shop/rule"
    assert (there["method"], there["bytes_out"]) == ("CONNECT", 12_345 + len(b"/bye"))
    assert here["upstream"] == "shop/db/v1"


@pytest.mark.e2e
def test_what_the_map_reads_knows_who_connected_and_who_still_is(world: RealMesh) -> None:
    (node,) = [each for each in nodes(world.mesh) if each.service == WEB]

    async def read() -> ClusterCounters:
        stats = EnvoyStats({node.id: f"unix:{socket_of(world, node)}"}, SystemClock())
        try:
            return (await stats.read([node.id])).nodes[node.id].clusters["shop/db/v1"]
        finally:
            await stats.aclose()

    with dial(world) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        held = asyncio.run(read())
        assert held.active >= 1
        connection.shutdown(socket.SHUT_WR)
        all_of(connection)
        world.until(lambda: asyncio.run(read()).active == 0)
        assert asyncio.run(read()).completed >= held.completed >= 1


@pytest.mark.e2e
def test_a_connection_ends_with_the_rule_that_let_it_in_and_no_other_does(
    world: RealMesh, envoys: LiveEnvoys, heard: Heard
) -> None:
    """Rules come and go, and weights move, under a connection that is allowed all the time."""
    with dial(world) as connection:
        changed = with_service(world.mesh, replace(world.mesh.services[DB], split=Split.all_to("v2")))
        access = replace(world.mesh.access[DB], rules=(connecting(), connecting(DB, OTHER, name="second")))
        envoys.serve(replace(changed, access={**world.mesh.access, DB: access}))
        with dial(world, OTHER) as second:
            second.sendall(b"new")
            assert second.recv(3) == b"new"
            assert heard.opened[-1] == "v2"
            envoys.serve(world.mesh)
            second.settimeout(15)
            assert ended(second)
        with pytest.raises(ConnectionRefusedError):
            dial(world, OTHER)
        connection.settimeout(1)  # what a drain took with it is gone by now
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(b"still here")
        assert connection.recv(64) == b"still here"


@pytest.mark.e2e
def test_who_is_revoked_is_cut_off_in_the_middle(world: RealMesh, envoys: LiveEnvoys, heard: Heard) -> None:
    """By the callee, whatever his own sidecar does."""
    with dial(world) as connection:
        connection.sendall(b"open")
        assert connection.recv(4) == b"open"
        cut = replace(world.mesh.access[DB], revoked=(spiffe_id(SETTINGS.trust_domain, WEB),))
        callees = [node for node in nodes(world.mesh) if node.service == DB]
        envoys.serve(replace(world.mesh, access={**world.mesh.access, DB: cut}), callees)
        connection.settimeout(15)
        assert ended(connection)
        before = len(heard.opened)
        with dial(world) as again:
            assert ended(again)
        assert len(heard.opened) == before
    envoys.serve(world.mesh)


@pytest.mark.e2e
def test_a_rule_for_connections_ends_at_its_instant_in_a_proxy_that_is_cut_off(envoy_binary: Path) -> None:
    net, heard, end = loopback(os.getpid() + 342), Heard(), datetime.now(UTC) + timedelta(seconds=4)
    services = [service(WEB, v1=[f"{net}1"]), database(v1=[f"{net}3"])]
    the_mesh = mesh(services, (DB, replace(connecting(), expires=end)))
    with running(the_mesh, Envoys(envoy_binary), serving=heard.serving) as world, dial(world) as connection:
        connection.sendall(b"early")
        assert connection.recv(5) == b"early"
        world.until(lambda: datetime.now(UTC) > end)
        with dial(world) as late:
            assert ended(late)
        connection.sendall(b"open still")
        assert connection.recv(64) == b"open still"


@pytest.mark.e2e
def test_connections_are_led_on_while_an_application_is_down(envoy_binary: Path) -> None:
    net, heard = loopback(os.getpid() + 344), Heard()
    db = replace(database(v1=[f"{net}3"], v2=[f"{net}4"]), failover=(Fallback(version="v2"),))
    the_mesh = mesh([service(WEB, v1=[f"{net}1"]), db], (DB, connecting()))
    with running(the_mesh, Envoys(envoy_binary), serving=heard.serving) as world, dial(world) as connection:
        connection.sendall(b"x")
        assert (connection.recv(1), heard.opened[-1]) == (b"x", "v1")
        world.stop_application(next(node.id for node in nodes(the_mesh) if node.version == "v1"))
        connection.settimeout(10)
        assert ended(connection)
        with dial(world) as again:
            again.sendall(b"y")
            assert (again.recv(1), heard.opened[-1]) == (b"y", "v2")


@pytest.mark.e2e
def test_connections_are_shared_by_weight_bounded_in_number_in_silence_and_in_all(envoy_binary: Path) -> None:
    net, heard = loopback(os.getpid() + 348), Heard()
    bounds = Resilience(Timeouts(idle_ms=800, stream_ms=2_000), circuit_breaker=CircuitBreaker(connections=2))
    db = replace(database(v1=[f"{net}3"], v2=[f"{net}4"]), resilience=bounds, split=HALF)
    the_mesh = mesh([service(WEB, v1=[f"{net}1"]), db], (DB, connecting()))
    with running(the_mesh, Envoys(envoy_binary), serving=heard.serving) as world:
        before = len(heard.opened)
        for _ in range(40):
            with dial(world) as connection:
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"
                connection.shutdown(socket.SHUT_WR)
                all_of(connection)
        assert 8 <= Counter(heard.opened[before:])["v1"] <= 32  # 40 draws are beyond once in 10,000 times

        with ExitStack() as stack:
            many = [stack.enter_context(dial(world)) for _ in range(6)]
            assert sum(answers(each) for each in many) <= 4  # two for each version, in this one caller's sidecar

        with first_answered(world) as silent:
            began = time.monotonic()
            assert ended(silent)
            assert time.monotonic() - began >= 0.7
        with first_answered(world) as busy:
            began = time.monotonic()
            while answers(busy):
                time.sleep(0.2)  # not silent for as long as it may be
                assert time.monotonic() - began < 9
            assert time.monotonic() - began >= 1.6


def first_answered(world: RealMesh) -> socket.socket:
    """A connection as soon as the breaker lets one through: those before are only on their way out."""
    while not answers(connection := dial(world)):
        connection.close()
    return connection


def answers(connection: socket.socket) -> bool:
    """Whether a byte comes back."""
    try:
        connection.sendall(b"x")
        return connection.recv(1) == b"x"
    except OSError:
        return False


@pytest.mark.e2e
def test_a_real_database_is_asked_and_speaks_up_by_itself(envoy_binary: Path, redis_binary: Path) -> None:
    """Redis: commands one behind the other, large values, and messages to who has subscribed."""
    net = loopback(os.getpid() + 346)

    @contextmanager
    def redis(node: Node, _delayed: list[str]) -> Iterator[None]:
        bound = ["--bind", node.endpoint.app_address, "--port", str(PORT), "--save", "", "--protected-mode", "no"]
        process = subprocess.Popen([redis_binary, *bound], stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    with (
        running(
            mesh([service(WEB, v1=[f"{net}1"]), database(v1=[f"{net}3"])], (DB, connecting())),
            Envoys(envoy_binary),
            serving=lambda node, delayed: redis(node, delayed) if node.service == DB else nullcontext(),
        ) as world,
        dial(world) as asking,
        dial(world) as listening,
        listening.makefile("rb") as heard,
    ):
        listening.sendall(b"SUBSCRIBE news\r\n")
        assert [heard.readline() for _ in range(6)][-1] == b":1\r\n"
        value = b"v" * (5 << 20)
        asking.sendall(
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\nGET k\r\nPUBLISH news x\r\n" % (len(value), value)
        )
        with asking.makefile("rb") as answers:
            assert answers.readline() == b"+OK\r\n"
            assert answers.read(len(value) + 12) == b"$%d\r\n%b\r\n" % (len(value), value)
            assert answers.readline() == b":1\r\n"
        assert [heard.readline() for _ in range(7)][-1] == b"x\r\n"


def ended(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, politely or not."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_port_that_is_taken_is_no_way() -> None:
    ledger = database(Name("shop", "ledger"), v1=["10.0.0.5"])
    web = service(WEB, v1=["10.0.0.1"])
    rules = ((DB, connecting()), (ledger.name, connecting(ledger.name)))
    assert found_at(mesh([web, database(v1=["10.0.0.3"]), ledger], *rules)) == {"db": PORT}
    moved = replace(web, local_ports=((DB, 15_432),))
    assert found_at(mesh([moved, database(v1=["10.0.0.3"]), ledger], *rules)) == {"db": 15_432, "ledger": PORT}
    onto_its_own = replace(web, local_ports=((DB, 8080), (ledger.name, 15_001)))
    assert found_at(mesh([onto_its_own, database(v1=["10.0.0.3"]), ledger], *rules)) == {}


def found_at(the_mesh: Mesh) -> dict[str, int]:
    """At which port the application of `web` finds whom."""
    (node,) = [each for each in nodes(the_mesh) if each.service == WEB]
    listeners = [each for each in COMPILER.compile(the_mesh, node, Memo()).artifacts if each.kind == LISTENER]
    parsed = [parse(each) for each in listeners if each.name.startswith("connections/")]
    assert all(each.address.socket_address.address == "127.0.0.1" for each in parsed)
    return {each.name.rpartition("/")[2]: each.address.socket_address.port_value for each in parsed}
