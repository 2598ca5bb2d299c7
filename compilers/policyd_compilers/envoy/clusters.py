"""Upstreams: one cluster for each version of a destination, and `app`, the sidecar's own application.

A version's cluster depends neither on the split nor on the instances: weights live in routes and instances in
EDS, since a changed cluster resets the counters that a canary is judged by. It is the same, byte for byte, for
every caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import protocol_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from policyd.base.content import digest
from policyd.compiler.naming import APP
from policyd.model.balancing import LoadBalancing
from policyd.model.mesh import Settings
from policyd.model.names import dns_name, spiffe_id
from policyd.model.service import WHOLE, Endpoint, Protocol, Service
from policyd_compilers.envoy import balancing, breakers, health, outliers, tls
from policyd_compilers.envoy.endpoints import fixed_assignment, socket_address
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, seconds
from policyd_compilers.envoy.sources import ads

APP_IDLE_MS = 1_000
"""Idle connections to the application are closed first by us: a common server closes its own after 2 to 5 s, and a
request sent at that instant is lost. A new loopback connection costs some 50 us."""
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MULTIPLEXED = frozenset({Protocol.HTTP2, Protocol.GRPC, Protocol.TCP})
"""What takes HTTP/2 alone. Connections to a `tcp` service are streams of it between sidecars (`connections`)."""


def destination(
    settings: Settings, name: str, service: Service, *, fails_over: bool = False, endpoints_of: str = ""
) -> Any:
    """The cluster `name` with instances of one version of `service`, as every caller holds it.

    `fails_over`: it is one of those that calls are led along while others are down.
    `endpoints_of`: whose endpoints it has, unless they go by its own name.
    """
    message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=ads(), service_name=endpoints_of or name),
        connect_timeout=milliseconds(service.resilience.timeouts.connect_ms),
        transport_socket=tls.upstream(
            spiffe_id(settings.trust_domain, service.name), dns_name(settings.trust_domain, service.name)
        ),
        # An instance that left is gone, whatever its last health check said.
        ignore_health_on_host_removal=True,
    )
    mark_distrusted(message, settings.distrusted)
    resilience = service.resilience
    balancing.balance(message, resilience.load_balancing, panic=resilience.panic)
    message.circuit_breakers.thresholds.append(breakers.of(service, fails_over=fails_over))
    if (detection := outliers.asked(service, fails_over=fails_over)) is not None:
        message.outlier_detection.CopyFrom(outliers.detection(detection))
    if service.health_check is not None:
        host = dns_name(settings.trust_domain, service.name)
        message.health_checks.append(health.of_instance(service.health_check, host, waiting=fails_over))
    options = _options(service.protocol, idle_ms=service.resilience.timeouts.idle_ms, alpn=True)
    options.common_http_protocol_options.max_connection_duration.CopyFrom(seconds(settings.leaf_s // 2))
    message.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    return message


def mark_distrusted(cluster: Any, distrusted: Sequence[str]) -> None:
    """Say in the cluster which roots are distrusted: Envoy ends the connections of a cluster that is another one.

    The trust bundle alone ends none, and whoever answers with a certificate of such a root would drain nothing.
    """
    if distrusted:
        cluster.metadata.filter_metadata["policyd"].fields["distrusted"].string_value = digest(sorted(distrusted))


def application(service: Service, endpoint: Endpoint) -> Any:
    """The cluster `app`: the one instance beside this sidecar, in the clear, on loopback."""
    message = cluster_pb2.Cluster(
        name=APP,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=milliseconds(service.resilience.timeouts.connect_ms),
        load_assignment=fixed_assignment(APP, [socket_address(endpoint.app_address, endpoint.app_port)]),
    )
    # Panic at 100 %: the check of our own application answers callers' checks and never cuts requests off here.
    balancing.balance(message, LoadBalancing(), panic=WHOLE)
    # Callers bound what they send; here nothing is refused that they let through.
    message.circuit_breakers.thresholds.append(breakers.thresholds(None, service.resilience.retries))
    if service.health_check is not None:
        multiplexed = service.protocol in _MULTIPLEXED
        check = health.of_application(service.health_check, service.name.name, multiplexed=multiplexed)
        message.health_checks.append(check)
    if service.protocol is not Protocol.TCP:  # whose connections belong to the callers
        speak(message, service.protocol, idle_ms=APP_IDLE_MS, alpn=False)
    return message


def speak(cluster: Any, protocol: Protocol, *, idle_ms: int, alpn: bool) -> None:
    """Say in a cluster what is spoken to its instances; `alpn`: as they offer it in the handshake."""
    options = _options(protocol, idle_ms=idle_ms, alpn=alpn)
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))


def _options(protocol: Protocol, *, idle_ms: int, alpn: bool) -> Any:
    """HTTP/2 where the service speaks it; else what ALPN finds between sidecars, and HTTP/1.1 to the application."""
    options = http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(idle_timeout=milliseconds(idle_ms))
    )
    if protocol in _MULTIPLEXED:
        options.explicit_http_config.http2_protocol_options.CopyFrom(_http2())
    elif alpn:
        options.auto_config.http_protocol_options.SetInParent()
        options.auto_config.http2_protocol_options.CopyFrom(_http2())
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    return options


def _http2() -> Any:
    """HTTP/2 that notices a dead peer: a ping after 30 s without a frame, 5 s to answer."""
    return protocol_pb2.Http2ProtocolOptions(
        connection_keepalive=protocol_pb2.KeepaliveSettings(
            interval=seconds(30), timeout=seconds(5), connection_idle_interval=seconds(30)
        ),
        override_stream_error_on_invalid_http_message=boolean(True),
    )
