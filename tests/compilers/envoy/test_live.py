"""What a change does to live connections: a real Envoy under a real control plane, with real client certificates."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from policyd.compiler.naming import cluster_name
from policyd.delivery.binaries import DRAIN_S
from policyd.model.access import Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.node import nodes
from policyd.model.resilience import Resilience, Retries, Timeouts
from policyd.model.service import Endpoint
from tests.compilers.envoy.live import LiveEnvoys, live
from tests.compilers.envoy.proxies import Envoys, socket_of
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.test_mixed import Mixed
from tests.compilers.world import Authority, Connection, RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

OTHER = Name("shop", "other")
LONG_S = 60


def open_to_all(net: str) -> Mesh:
    """Calls that may take for ever, and are never tried again."""
    payments = replace(
        service(PAYMENTS, v1=[net + "1"]), resilience=Resilience(Timeouts(request_ms=0, idle_ms=0), Retries(0))
    )
    services = [payments, service(WEB, v1=[net + "2"]), service(OTHER, v1=[net + "3"])]
    return mesh(services, (PAYMENTS, rule(PAYMENTS, (Source(anyone=True),))))


def without(of: Mesh, *cut: Name) -> Mesh:
    identities = tuple(spiffe_id(of.settings.trust_domain, name) for name in cut)
    return replace(of, access={**of.access, PAYMENTS: replace(of.access[PAYMENTS], revoked=identities)})


@dataclass
class Live:
    """One service, `payments` or `web`, behind an Envoy that can be given another mesh; others behind static ones."""

    world: RealMesh
    envoys: LiveEnvoys
    opened: ExitStack

    @property
    def payments(self) -> Endpoint:
        return self.world.mesh.services[PAYMENTS].versions[0].endpoints[0]

    def peer(self, caller: Name) -> Connection:
        """Directly, in HTTP/1.1, after one good request."""
        connection = self.opened.enter_context(self.world.peer_of(self.payments, caller))
        assert connection.send("GET", "/first").status == 200
        return connection

    def stream(self, caller: Name, *, through_sidecar: bool) -> socket.socket:
        """A request that is under way: directly in HTTP/1.1, or through the caller's sidecar in HTTP/2."""
        sidecar = self.world.mesh.services[caller].versions[0].endpoints[0]
        peer = self.world.app_of(sidecar) if through_sidecar else self.world.peer_of(self.payments, caller)
        held = self.opened.enter_context(peer)._open()
        held.settimeout(LONG_S)
        held.sendall(f"GET /long HTTP/1.1\r\nhost: payments.pay\r\nx-test-delay: {LONG_S}\r\n\r\n".encode())
        return held


@contextmanager
def living(envoy_binary: Path, offset: int, alive: Name = PAYMENTS) -> Iterator[Live]:
    the_mesh = open_to_all(loopback(os.getpid() + offset))
    static = Envoys(envoy_binary)
    with live(envoy_binary) as envoys, ExitStack() as opened:
        kinds: dict[Name, Sidecars] = {PAYMENTS: static, WEB: static, OTHER: static, alive: envoys}
        with running(the_mesh, Mixed(kinds)) as world:
            world.until(lambda: _answers(world))
            yield Live(world, envoys, opened)


def _answers(world: RealMesh) -> bool:
    with world.app_of(world.mesh.services[WEB].versions[0].endpoints[0]) as web:
        return web.send("GET", "/ready").status == 200


def ended(held: socket.socket, since: float) -> float:
    """How long it took until the other end closed, or answered for an upstream that did."""
    with suppress(ConnectionError, ssl.SSLError):
        held.recv(65_536)
    return time.monotonic() - since


def test_who_is_cut_off_loses_what_he_has_open(
    envoy_binary: Path, record_property: Callable[[str, object], None]
) -> None:
    with living(envoy_binary, 110) as mesh_now:
        active, innocent = mesh_now.peer(WEB), mesh_now.peer(OTHER)
        idle = mesh_now.peer(WEB)._socket
        assert idle is not None
        idle.settimeout(LONG_S)
        held = {
            "idle, HTTP/1.1": idle,
            "stream, HTTP/1.1": mesh_now.stream(WEB, through_sidecar=False),
            "stream, HTTP/2": mesh_now.stream(WEB, through_sidecar=True),
        }
        mesh_now.world.until(lambda: len(_arrived(mesh_now)) == 2)
        begun = time.monotonic()
        mesh_now.envoys.serve(without(mesh_now.world.mesh, WEB))
        denied = active.send("GET", "/after")
        took = {"denied": time.monotonic() - begun}
        assert (denied.status, denied.body["error"]["reason"]) == (403, "revoked")
        with ThreadPoolExecutor(len(held)) as waiting:
            gone = {name: waiting.submit(ended, each, begun) for name, each in held.items()}
            statuses = []
            while not all(each.done() for each in gone.values()):
                assert time.monotonic() - begun < LONG_S / 2, "connections of one who is cut off outlive the drain"
                statuses.append(innocent.send("GET", "/meanwhile").status)
            took |= {name: each.result() for name, each in gone.items()}
        for name, seconds in took.items():
            record_property(f"cut after a drain of {DRAIN_S} s: {name}", f"{seconds:.2f} s")
        assert set(statuses) == {200}
        assert active.send("GET", "/later").status == 403
        assert innocent.send("GET", "/later").status == 200


def _arrived(mesh_now: Live) -> list[str]:
    """The long calls that `payments` has begun to work on: it counts what is open to its application."""
    return mesh_now.world.waiting(PAYMENTS, "/long")


def test_who_is_back_is_served_again(envoy_binary: Path) -> None:
    with living(envoy_binary, 114) as mesh_now:
        mesh_now.envoys.serve(without(mesh_now.world.mesh, WEB))
        with mesh_now.world.peer_of(mesh_now.payments, WEB) as web:
            assert web.send("GET", "/x").status == 403
            mesh_now.envoys.serve(mesh_now.world.mesh)
            mesh_now.world.until(lambda: web.send("GET", "/x").status == 200)


def test_a_root_that_is_trusted_no_more_opens_no_connection(envoy_binary: Path) -> None:
    with living(envoy_binary, 118) as mesh_now:
        elsewhere = Authority(mesh_now.world.mesh.settings.trust_domain)
        mesh_now.peer(WEB)
        mesh_now.envoys.serve(mesh_now.world.mesh, roots=elsewhere.root_pem)

        def refused() -> bool:
            with mesh_now.world.peer_of(mesh_now.payments, WEB) as peer:
                try:
                    return peer.send("GET", "/x").status == 0
                except (ConnectionError, ssl.SSLError):
                    return True

        mesh_now.world.until(refused)


def test_a_rule_ends_in_a_proxy_that_is_cut_off_from_the_controller(envoy_binary: Path) -> None:
    with living(envoy_binary, 122) as mesh_now:
        ends = datetime.now(UTC) + timedelta(seconds=2)
        access = mesh_now.world.mesh.access[PAYMENTS]
        expiring = replace(access, rules=tuple(replace(each, expires=ends) for each in access.rules))
        peer = mesh_now.peer(WEB)
        mesh_now.envoys.serve(replace(mesh_now.world.mesh, access={**mesh_now.world.mesh.access, PAYMENTS: expiring}))
        mesh_now.envoys.cut_off()
        assert datetime.now(UTC) >= ends or peer.send("GET", "/x").status == 200
        mesh_now.world.until(lambda: peer.send("GET", "/x").status == 403)
        assert datetime.now(UTC) >= ends
        assert peer.send("GET", "/x").status == 403


DISTRUSTED = ("ab" * 32,)
"""Some root's name; what it is called makes no difference here."""


def distrusting(of: Mesh) -> Mesh:
    return replace(of, settings=replace(of.settings, distrusted=DISTRUSTED))


def test_what_is_open_under_a_root_that_is_distrusted_ends(
    envoy_binary: Path, record_property: Callable[[str, object], None]
) -> None:
    with living(envoy_binary, 126) as mesh_now:
        idle = mesh_now.peer(WEB)._socket
        assert idle is not None
        idle.settimeout(LONG_S)
        held = {"idle": idle, "stream": mesh_now.stream(WEB, through_sidecar=False)}
        mesh_now.world.until(lambda: len(_arrived(mesh_now)) == 1)
        authority = Authority(mesh_now.world.mesh.settings.trust_domain)
        mesh_now.envoys.serve(mesh_now.world.mesh, authority=authority)
        begun = time.monotonic()
        mesh_now.envoys.serve(distrusting(mesh_now.world.mesh))
        for name, each in held.items():
            took = ended(each, begun)
            record_property(f"ended after a drain of {DRAIN_S} s: {name}", f"{took:.2f} s")
            assert took < LONG_S / 2, f"{name}: a connection outlives the root that it began under"


def test_a_caller_sends_nothing_more_to_who_answers_with_a_leaf_of_a_distrusted_root(envoy_binary: Path) -> None:
    """`payments` goes on under the old root, as whoever has stolen its key would, and drains nothing."""
    with living(envoy_binary, 130, alive=WEB) as mesh_now, of_web(mesh_now) as web:
        assert web.send("GET", "/before").status == 200
        authority = Authority(mesh_now.world.mesh.settings.trust_domain)
        mesh_now.envoys.serve(mesh_now.world.mesh, authority=authority)
        assert web.send("GET", "/open").status == 200, "the bundle alone ends no connection"
        mesh_now.envoys.serve(distrusting(mesh_now.world.mesh))
        assert web.send("GET", "/after").status == 503
        held = held_upstream(mesh_now)
    assert held == 0


def of_web(mesh_now: Live) -> Connection:
    return mesh_now.world.app_of(mesh_now.world.mesh.services[WEB].versions[0].endpoints[0])


def held_upstream(mesh_now: Live) -> int:
    """The connections that `web` has open to `payments`."""
    (node,) = (each for each in nodes(mesh_now.world.mesh) if each.service == WEB)
    transport = httpx.HTTPTransport(uds=str(socket_of(mesh_now.world, node)))
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        query = {"format": "json", "filter": f"^cluster.{cluster_name(PAYMENTS, 'v1')}.upstream_cx_active$"}
        (stat,) = admin.get("/stats", params=query).json()["stats"]
    return int(stat["value"])
