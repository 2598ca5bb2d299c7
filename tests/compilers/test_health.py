"""Instances whose gRPC server or port says that it cannot serve get no calls, in each data plane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest

from policyd.model.node import Node, nodes
from policyd.model.service import HealthCheck, Probe, Protocol
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Sidecars, loopback, running, serving_application

pytestmark = pytest.mark.e2e

OFTEN = HealthCheck("", interval_ms=100, timeout_ms=500, unhealthy_threshold=1)
SERVICE = "pay.v1.Payments"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Servers:
    """gRPC servers as applications of `payments`, each of which says how it is."""

    def __init__(self) -> None:
        self.says: dict[str, bytes] = {}
        self.asked: set[bytes] = set()

    @contextmanager
    def serving(self, node: Node, waiting: list[str]) -> Iterator[None]:
        if node.service != PAYMENTS:
            with serving_application(node, waiting):
                yield
            return
        self.says[node.id] = SERVING

        def check(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.add(request)
            return self.says[node.id]

        def charge(request: bytes, context: grpc.ServicerContext) -> bytes:
            return node.id.encode()

        server = grpc.server(ThreadPoolExecutor(4))
        for name, method, handler in (("grpc.health.v1.Health", "Check", check), (SERVICE, "Charge", charge)):
            handlers = {method: grpc.unary_unary_rpc_method_handler(handler)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        assert server.add_insecure_port(f"{node.endpoint.app_address}:{node.endpoint.app_port}")
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()


@pytest.mark.parametrize("about", ["", SERVICE])
def test_a_grpc_server_that_says_it_cannot_serve_gets_no_calls(sidecars: Sidecars, about: str) -> None:
    net = loopback(os.getpid() + (240 if about else 244))
    check = replace(OFTEN, probe=Probe.GRPC, grpc_service=about)
    payments = replace(service(PAYMENTS, v1=[f"{net}1", f"{net}2"]), protocol=Protocol.GRPC, health_check=check)
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    one, two = (node.id for node in nodes(the_mesh) if node.service == PAYMENTS)
    servers = Servers()
    options = [("grpc.default_authority", "payments.pay"), ("grpc.enable_http_proxy", 0)]
    address = f"{net}9:{the_mesh.settings.outbound_port}"
    with (
        running(the_mesh, sidecars, serving=servers.serving) as world,
        grpc.insecure_channel(address, options) as channel,
    ):
        charge = channel.unary_unary(f"/{SERVICE}/Charge", bytes, bytes)

        def answered() -> set[str]:
            return {charge(b"", timeout=10).decode() for _ in range(20)}

        world.until(lambda: answered() == {one, two})
        servers.says[one] = NOT_SERVING
        world.until(lambda: answered() == {two})
        servers.says[one] = SERVING
        world.until(lambda: answered() == {one, two})
    assert servers.asked == {b"\x0a" + bytes([len(about)]) + about.encode() if about else b""}


def test_an_instance_whose_port_is_closed_gets_no_calls(sidecars: Sidecars) -> None:
    net = loopback(os.getpid() + 248)
    payments = replace(service(PAYMENTS, v1=[f"{net}1", f"{net}2"]), health_check=replace(OFTEN, probe=Probe.TCP))
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    gone = next(node for node in nodes(the_mesh) if node.service == PAYMENTS)
    with running(the_mesh, sidecars) as world, world.app_of(the_mesh.services[WEB].versions[0].endpoints[0]) as web:

        def answered() -> set[str]:
            replies = [web.send("GET", "/") for _ in range(20)]
            return {reply.body["instance"] if reply.status == 200 else str(reply.status) for reply in replies}

        world.until(lambda: answered() == {f"{net}1", f"{net}2"})
        world.stop_application(gone.id)
        world.until(lambda: answered() == {f"{net}2"})
        with serving_application(gone):
            world.until(lambda: answered() == {f"{net}1", f"{net}2"})
