"""Upgrades through two real sidecars of every kind: what a service offers works, everything else is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.model.access import Source
from policyd.model.names import Name
from policyd.model.resilience import Resilience, Timeouts
from tests.compilers.envoy.proxies import Envoys
from tests.compilers.haproxy.proxies import HAProxies
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.test_mixed import Mixed
from tests.compilers.world import Connection, RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

CHAT = Name("pay", "chat")
CALL_MS = 700


@pytest.fixture(scope="module", params=["envoy", "haproxy", "envoy to haproxy", "haproxy to envoy"])
def world(request: pytest.FixtureRequest, envoy_binary: Path, haproxy_binary: Path) -> Iterator[RealMesh]:
    net = loopback(os.getpid() + 130 + len(request.param))
    kinds: dict[str, Sidecars] = {"envoy": Envoys(envoy_binary), "haproxy": HAProxies(haproxy_binary)}
    caller, _, callee = request.param.partition(" to ")
    chat = replace(
        service(CHAT, v1=[net + "1"]), upgrades=("websocket",), resilience=Resilience(Timeouts(request_ms=CALL_MS))
    )
    services = [chat, service(PAYMENTS, v1=[net + "2"]), service(WEB, v1=[net + "3"])]
    sources = (Source(services=(WEB,)),)
    the_mesh = mesh(
        services,
        (CHAT, rule(CHAT, sources, ("GET",), ("/room/{id}",))),
        (PAYMENTS, rule(PAYMENTS, sources, ("GET",), ("/room/{id}",))),
    )
    other = kinds[callee or caller]
    with running(the_mesh, Mixed({WEB: kinds[caller], CHAT: other, PAYMENTS: other})) as started:
        yield started


def connections(world: RealMesh, to: Name) -> Iterator[Connection]:
    """Through the caller's sidecar, and straight at the callee's."""
    yield world.app_of(world.mesh.services[WEB].versions[0].endpoints[0])
    yield world.peer_of(world.mesh.services[to].versions[0].endpoints[0], WEB)


def test_what_is_offered_is_carried_for_longer_than_a_call(world: RealMesh) -> None:
    with ExitStack() as stack:
        carried = []
        for spelling in ("websocket", "WebSocket"):
            for connection in connections(world, CHAT):
                status, held = stack.enter_context(connection).upgrade("/room/1", spelling, "chat.pay")
                assert status == 101
                held.sendall(b"hello")
                assert held.recv(5) == b"HELLO"
                carried.append(held)
        time.sleep(CALL_MS / 1_000 + 0.3)  # the bound of a call passes, and nothing is to happen
        for held in carried:
            held.sendall(b"again")
            assert held.recv(5) == b"AGAIN"


@pytest.mark.parametrize(
    ("to", "host", "path", "protocol"),
    [
        (CHAT, "chat.pay", "/elsewhere", "websocket"),
        (CHAT, "chat.pay", "/room/1", "spdy/3.1"),
        (CHAT, "chat.pay", "/room/1", "websocket, spdy/3.1"),
        (CHAT, "chat.pay", "/room/1", "spdy/3.1, websocket"),
        (CHAT, "chat.pay", "/room//1", "websocket"),
        (PAYMENTS, "payments.pay", "/room/1", "websocket"),
    ],
)
def test_every_other_upgrade_is_refused(world: RealMesh, to: Name, host: str, path: str, protocol: str) -> None:
    for connection in connections(world, to):
        with connection:
            status, _ = connection.upgrade(path, protocol, host)
            assert status == (400 if "//" in path else 403)


def test_http2_in_the_clear_is_no_way_around(world: RealMesh) -> None:
    """RFC 9113 has withdrawn `h2c`: the offer may be ignored, and the request is judged as it stands."""
    for connection in connections(world, CHAT):
        with connection:
            status, _ = connection.upgrade("/room/1", "h2c", "chat.pay", **{"http2-settings": "AAMAAABkAAQAAP__"})
            assert status in {200, 403}
        with connection:
            status, _ = connection.upgrade("/elsewhere", "h2c", "chat.pay", **{"http2-settings": "AAMAAABkAAQAAP__"})
            assert status == 403


def test_plain_calls_go_on(world: RealMesh) -> None:
    for connection in connections(world, CHAT):
        with connection:
            assert connection.send("GET", "/room/1", host="chat.pay").status == 200
            assert connection.send("GET", "/elsewhere", host="chat.pay").status == 403
