"""A receiver of spans: OTLP over gRPC by the published messages, as any collector takes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Span:
    """One span, with the resource that made it."""

    service: str
    resource: dict[str, str]
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    tags: dict[str, str]


@dataclass
class Receiver:
    """What came so far."""

    address: str
    spans: list[Span] = field(default_factory=list)
    _came: threading.Condition = field(default_factory=threading.Condition)

    def take(self, request: Any) -> None:
        """One export of a sidecar."""
        with self._came:
            self.spans += _spans(request)
            self._came.notify_all()

    def until(self, count: int) -> list[Span]:
        """The spans, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.spans) >= count, PATIENCE_S), self.spans
            return list(self.spans)


class _Export(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=trace_service_pb2.ExportTraceServiceRequest.FromString,
            response_serializer=trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
        )

    def _export(self, request: Any, _: Any) -> Any:
        self._receiver.take(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def receiving(pair: bytes = b"") -> Iterator[Receiver]:
    """A receiver on loopback, over TLS with a certificate and its key (PEM) in one, if they are given."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    if pair:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair, pair)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    receiver = Receiver(f"127.0.0.1:{port}")
    server.add_generic_rpc_handlers((_Export(receiver),))
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


def _spans(request: Any) -> Iterator[Span]:
    for sent in request.resource_spans:
        resource = {each.key: each.value.string_value for each in sent.resource.attributes}
        # Field 2, `scope_spans` today; the messages at hand have the name of before, and the same numbers.
        for scope in sent.instrumentation_library_spans:
            for span in scope.spans:
                yield Span(
                    service=resource["service.name"],
                    resource=resource,
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    tags={each.key: each.value.string_value for each in span.attributes},
                )
