"""gRPC through two real sidecars of each data plane: trailers arrive, and rules are about methods as paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest

from policyd.model.service import Endpoint, Protocol
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Sidecars, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 80)
CHARGE, REFUND = "/pay.v1.Payments/Charge", "/pay.v1.Payments/Refund"


@contextmanager
def application(endpoint: Endpoint) -> Iterator[None]:
    """A gRPC server: `Charge` answers what it got, or fails as it is told."""

    def charge(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"broke":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no money")
        return request

    def refund(request: bytes, context: grpc.ServicerContext) -> bytes:
        return request

    server = grpc.server(ThreadPoolExecutor(2))
    handlers = {
        "Charge": grpc.unary_unary_rpc_method_handler(charge),
        "Refund": grpc.unary_unary_rpc_method_handler(refund),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pay.v1.Payments", handlers),))
    assert server.add_insecure_port(f"{endpoint.app_address}:{endpoint.app_port}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


def test_grpc_calls_are_carried_and_judged(sidecars: Sidecars) -> None:
    payments = replace(service(PAYMENTS, v1=[NET + "1"]), protocol=Protocol.GRPC)
    the_mesh = mesh(
        [payments, service(WEB, v1=[NET + "2"])],
        (PAYMENTS, rule(PAYMENTS, methods=("POST",), paths=(CHARGE,))),
    )
    endpoint = payments.versions[0].endpoints[0]
    with running(the_mesh, sidecars) as world:
        world.stop_application(f"pay/payments/v1/{NET}1")
        address = f"{NET}2:{the_mesh.settings.outbound_port}"
        options = [("grpc.default_authority", "payments.pay"), ("grpc.enable_http_proxy", 0)]
        with application(endpoint), grpc.insecure_channel(address, options) as channel:
            call = {path: channel.unary_unary(path, bytes, bytes) for path in (CHARGE, REFUND)}
            assert call[CHARGE](b"5", timeout=10) == b"5"
            with pytest.raises(grpc.RpcError) as told:
                call[CHARGE](b"broke", timeout=10)
            assert (told.value.code(), told.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no money")
            with pytest.raises(grpc.RpcError) as denied:
                call[REFUND](b"5", timeout=10)
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
