"""Spans by OpenTelemetry (OTLP over gRPC): what each listener traces, and the cluster of the collector.

    the app -> outbound (client span) -> inbound (server span) -> the app, which passes `traceparent` on

Nothing here can hold up a call: spans are sent from a buffer, and dropped where the collector is not there.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2, grpc_service_pb2
from envoy.config.trace.v3 import http_tracer_pb2, opentelemetry_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import static_config_resource_detector_pb2
from envoy.extensions.tracers.opentelemetry.samplers.v3 import (
    parent_based_sampler_pb2,
    trace_id_ratio_based_sampler_pb2,
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3 import percent_pb2

from policyd.compiler.naming import COLLECTOR
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.tracing import Collector, Tracing
from policyd_compilers.envoy import tls
from policyd_compilers.envoy.endpoints import fixed_assignment, socket_address
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, seconds, uint32

_Manager = http_connection_manager_pb2.HttpConnectionManager
PATH_BYTES = 256
"""How much of a path a span keeps."""
SEND_MS = 1_000
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def traced(settings: Settings) -> Tracing | None:
    """What is asked for, where it is known how the collector is reached; else nothing is traced."""
    tracing = settings.tracing
    if tracing is None or tracing.at is None:
        return None
    known = not tracing.at.roots or tracing.at.roots in tls.system_or_named(settings)
    return tracing if known else None


def trace(manager: Any, settings: Settings, service: Name) -> None:
    """Let a connection manager of `service` make spans, if the mesh asks for them."""
    tracing = traced(settings)
    if tracing is None:
        return
    manager.tracing.CopyFrom(
        _Manager.Tracing(
            # The tracer's own sampler decides: it knows `traceparent`.
            random_sampling=percent_pb2.Percent(value=100),
            client_sampling=percent_pb2.Percent(value=0),
            overall_sampling=percent_pb2.Percent(value=100),
            max_path_tag_length=uint32(PATH_BYTES),
            spawn_upstream_span=boolean(False),
            provider=http_tracer_pb2.Tracing.Http(
                name="envoy.tracers.opentelemetry", typed_config=pack(_exporter(tracing, service))
            ),
        )
    )
    # Envoy would write into a request's id whether it was sampled, and never sample one whose id is no UUID: an id
    # stays as the application gave it, and decides nothing.
    kept = uuid_pb2.UuidRequestIdConfig(
        pack_trace_reason=boolean(False), use_request_id_for_trace_sampling=boolean(False)
    )
    manager.request_id_extension.typed_config.CopyFrom(pack(kept))


def name_spans(routes: Any, name: str = "") -> None:
    """Call the spans of each virtual host by `name`, else by its own: that of the service that is called."""
    for host in routes.virtual_hosts:
        for route in host.routes:
            route.decorator.operation = name or host.name
            route.decorator.propagate.CopyFrom(boolean(False))


def collector(settings: Settings, to: Collector) -> Any:
    """The cluster of the collector: gRPC over TLS, or in the clear to one that stands beside the sidecars."""
    host, _, port = to.address.rpartition(":")
    host = host.strip("[]")
    message = cluster_pb2.Cluster(
        name=COLLECTOR,
        type=cluster_pb2.Cluster.STATIC if tls.is_address(host) else cluster_pb2.Cluster.STRICT_DNS,
        connect_timeout=seconds(1),
        load_assignment=fixed_assignment(COLLECTOR, [socket_address(host, int(port))]),
    )
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.SetInParent()
    message.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    if to.roots:
        roots = tls.system_or_named(settings)[to.roots]
        message.transport_socket.CopyFrom(tls.outside(roots, to.named or host, ("h2",)))
    return message


def _exporter(tracing: Tracing, service: Name) -> Any:
    detector = static_config_resource_detector_pb2.StaticConfigResourceDetectorConfig(
        attributes={"service.namespace": service.namespace}
    )
    return opentelemetry_pb2.OpenTelemetryConfig(
        grpc_service=grpc_service_pb2.GrpcService(
            envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=COLLECTOR),
            timeout=milliseconds(SEND_MS),
        ),
        service_name=service.name,
        resource_detectors=[
            extension_pb2.TypedExtensionConfig(
                name="envoy.tracers.opentelemetry.resource_detectors.static_config", typed_config=pack(detector)
            )
        ],
        sampler=_sampler(tracing),
    )


def _sampler(tracing: Tracing) -> Any:
    """Who begins a trace decides for all that follows; of those without one, a share by the trace's id."""
    share = percent_pb2.FractionalPercent(
        numerator=tracing.sampling_bp, denominator=percent_pb2.FractionalPercent.TEN_THOUSAND
    )
    begins = extension_pb2.TypedExtensionConfig(
        name="envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        typed_config=pack(trace_id_ratio_based_sampler_pb2.TraceIdRatioBasedSamplerConfig(sampling_percentage=share)),
    )
    return extension_pb2.TypedExtensionConfig(
        name="envoy.tracers.opentelemetry.samplers.parent_based",
        typed_config=pack(parent_based_sampler_pb2.ParentBasedSamplerConfig(wrapped_sampler=begins)),
    )
