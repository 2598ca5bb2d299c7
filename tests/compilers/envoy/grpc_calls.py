"""A gRPC application for each instance, and its callers: every kind of call, and trouble as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from policyd.model.node import Node
from tests.compilers.world import RealMesh

SERVICE = "pay.v1.Payments"
CHARGE, SLOW, REFUND, WATCH, TALK, LINGER, UPLOAD = (
    f"/{SERVICE}/{method}" for method in ("Charge", "Slow", "Refund", "Watch", "Talk", "Linger", "Upload")
)
FAILING, FAILS_WITH = "x-test-failing", "x-test-fails-with"
"""Which address fails, or `any`, and with which status; `Charge` and `Watch` look at them."""
NO_MONEY = "no money: 0 % left, désolé"
BEHIND = (("x-settled", "yes"), ("x-seal-bin", bytes(range(256))))
"""What comes after the answer, one value of it any bytes."""


@dataclass(frozen=True)
class Payments:
    """What one instance does. Answers name the version and the address."""

    node: Node

    @property
    def name(self) -> bytes:
        """Who answers."""
        return f"{self.node.version} {self.node.endpoint.address}".encode()

    def charge(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """One answer, with something after it."""
        self._fail(context)
        context.set_trailing_metadata(BEHIND)
        if request == b"broke":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_MONEY)
        return self.name

    def slow(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """No answer, until nobody waits for one."""
        _until_it_is_over(context)
        return self.name

    def watch(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """So many answers as the request says; then the failure that was asked for; 0: one and no end."""
        yield from (self.name for _ in range(int(request) or 1))
        self._fail(context)
        context.set_trailing_metadata(BEHIND)
        if request == b"0":
            _until_it_is_over(context)

    def talk(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """An answer to each request as it comes."""
        for request in requests:
            yield request.upper()
        context.set_trailing_metadata(BEHIND)

    def upload(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """How many bytes came."""
        return str(sum(map(len, requests))).encode()

    def _fail(self, context: grpc.ServicerContext) -> None:
        told = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        if told.get(FAILING) in {"any", self.node.endpoint.address}:
            context.abort(grpc.StatusCode[told[FAILS_WITH]], "as told")


def _until_it_is_over(context: grpc.ServicerContext) -> None:
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(20)


@contextmanager
def serving_grpc(node: Node) -> Iterator[None]:
    """The application of an instance."""
    payments = Payments(node)
    handlers = {
        "Charge": grpc.unary_unary_rpc_method_handler(payments.charge),
        "Slow": grpc.unary_unary_rpc_method_handler(payments.slow),
        "Refund": grpc.unary_unary_rpc_method_handler(payments.charge),
        "Watch": grpc.unary_stream_rpc_method_handler(payments.watch),
        "Linger": grpc.stream_stream_rpc_method_handler(payments.talk),
        "Talk": grpc.stream_stream_rpc_method_handler(payments.talk),
        "Upload": grpc.stream_unary_rpc_method_handler(payments.upload),
    }
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    assert server.add_insecure_port(f"{node.endpoint.app_address}:{node.endpoint.app_port}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


class Client:
    """The methods, as a caller has them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.charge, self.slow, self.refund = (
            channel.unary_unary(path, bytes, bytes) for path in (CHARGE, SLOW, REFUND)
        )
        self.watch = channel.unary_stream(WATCH, bytes, bytes)
        self.talk, self.linger = (channel.stream_stream(path, bytes, bytes) for path in (TALK, LINGER))
        self.upload = channel.stream_unary(UPLOAD, bytes, bytes)


@contextmanager
def dialled(world: RealMesh, caller: Node, host: str) -> Iterator[Client]:
    """A client as an application has it: at its own sidecar, with the service as authority; no tries of its own."""
    options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    address = f"{caller.endpoint.address}:{world.mesh.settings.outbound_port}"
    with grpc.insecure_channel(address, options) as channel:
        yield Client(channel)
