"""What peers reach: mutual TLS, canonical requests only, access rules, then the application."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from envoy.config.core.v3 import protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from policyd.base.content import digest
from policyd.compiler.naming import APP, EDGE_HEADER, INBOUND
from policyd.model.access import Access
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.service import Protocol, Service
from policyd_compilers.envoy import (
    access_log,
    canonical,
    connections,
    grpc_stats,
    health,
    manager,
    rate_limits,
    rbac,
    replies,
    tls,
    tokens,
    tracing,
    upgrades,
)
from policyd_compilers.envoy.endpoints import socket_address
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, seconds, uint32

_Manager = http_connection_manager_pb2.HttpConnectionManager
IDLE_GRACE_MS = 10_000
"""How much longer than its callers a callee keeps an idle connection: the caller closes first, and no request
meets a closing connection."""


def route_config_name(service: Name) -> str:
    """The RDS resource with a service's access rules: `inbound/namespace/service`."""
    return f"{INBOUND}/{service}"


def filter_chain(settings: Settings, service: Service, access: Access) -> Any:
    """The one filter chain of a service's inbound listeners; equal for all its instances."""
    return listener_components_pb2.FilterChain(
        name=chain_name(access.revoked, settings.distrusted),
        filters=[
            listener_components_pb2.Filter(
                name="envoy.filters.network.http_connection_manager",
                typed_config=pack(connection_manager(settings, service, access)),
            )
        ],
        transport_socket=tls.downstream(),
        transport_socket_connect_timeout=seconds(5),
    )


def chain_name(revoked: Sequence[str], distrusted: Sequence[str] = ()) -> str:
    """The name of the chain, by who is cut off and what is distrusted: Envoy drains a chain whose name is gone.

    So a revocation ends what its caller has open, idle connections and streams in flight with it. There is no way to
    end one caller's connections alone, or those of one root: others are drained with them, and come back.
    """
    closed = (*sorted(revoked), *(f"root {root}" for root in sorted(distrusted)))
    return f"{INBOUND}-{digest(closed)}" if closed else INBOUND


def reads(service: Service, access: Access) -> Hashable:
    """What of a service and its rules the filter chain depends on; a change of it drains connections."""
    return (
        service.name,
        service.protocol is Protocol.TCP,
        service.longest,
        service.protocol is Protocol.GRPC,
        service.health_check,
        service.opaque_paths,
        service.upgrades,
        bool(service.rate_limits),
        tokens.asked(access),
        access.revoked,
    )


def connection_manager(settings: Settings, service: Service, access: Access) -> Any:
    """The manager: `not-canonical` first, the health answer, tokens where rules ask, access rules, limits."""
    timeouts = service.longest
    message = manager.base(
        INBOUND,
        route_config_name(service.name),
        idle_ms=timeouts.idle_ms + IDLE_GRACE_MS if timeouts.idle_ms else 0,
        stream_idle_ms=timeouts.idle_ms,
    )
    options = message.common_http_protocol_options
    options.headers_with_underscores_action = protocol_pb2.HttpProtocolOptions.REJECT_REQUEST
    # A live connection keeps the certificate that it began with: half a leaf's life is as old as one may get.
    options.max_connection_duration.CopyFrom(seconds(settings.leaf_s // 2))
    # Between Envoys an upgrade is an extended CONNECT (RFC 8441), which becomes the upgrade again before any filter.
    message.http2_protocol_options.allow_connect = bool(service.upgrades)
    message.path_with_escaped_slashes_action = (
        _Manager.KEEP_UNCHANGED if service.opaque_paths else _Manager.REJECT_REQUEST
    )
    message.forward_client_cert_details = _Manager.SANITIZE_SET
    message.set_current_client_cert_details.uri = True
    message.local_reply_config.CopyFrom(
        replies.inbound(limited=bool(service.rate_limits), grpc=service.protocol is Protocol.GRPC)
    )
    message.access_log.append(access_log.inbound())
    tracing.trace(message, settings, service.name)
    judging = [(canonical.FILTER, canonical.filter_config(opaque_paths=service.opaque_paths))]
    if service.health_check is not None:
        judging.append(("envoy.filters.http.health_check", health.answer(service.health_check)))
    if service.protocol is Protocol.TCP:  # callers' checks are the only requests that it answers
        judging = [*judging[1:], (canonical.FILTER, canonical.connections_only())]
    for name, config in judging:
        manager.add_filter(message, name, config)
    believing = tokens.filter_config(settings.issuers) if tokens.asked(access) else None
    if believing is not None:
        manager.add_filter(message, tokens.FILTER, believing)
    manager.add_filter(message, rbac.FILTER, rbac.deny_all())
    if service.rate_limits:
        manager.add_filter(message, rate_limits.FILTER, rate_limits.unlimited())
    if service.protocol is Protocol.GRPC:
        grpc_stats.add_filter(message)
    manager.add_router(message)
    return message


def listener(chain: Any, node: Node, ports: tuple[int, ...]) -> Any:
    """The inbound listener of one instance. One for several ports, so that a port comes and goes in place."""
    first, *more = (socket_address(node.endpoint.address, port) for port in ports)
    return listener_pb2.Listener(
        name=INBOUND,
        stat_prefix=INBOUND,
        address=first,
        additional_addresses=[listener_pb2.AdditionalAddress(address=each) for each in more],
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=uint32(1 << 20),
        metadata=access_log.told(node.id),
        traffic_direction="INBOUND",
    )


def routes(settings: Settings, service: Service, access: Access) -> Any:
    """The route configuration: every path to the application, under the rules of this service.

    The bound of the call as a whole holds here too, so that no attempt outlives the callers' patience.
    """
    overrides = {rbac.FILTER: pack(rbac.per_route(settings, service, access))}
    if service.rate_limits:
        overrides[rate_limits.FILTER] = pack(rate_limits.per_route(service))
    host = route_components_pb2.VirtualHost(
        name=INBOUND,
        domains=["*"],
        routes=_to_application(service),
        typed_per_filter_config=overrides,
    )
    message = route_pb2.RouteConfiguration(
        name=route_config_name(service.name),
        virtual_hosts=[host],
        validate_clusters=boolean(False),
        request_headers_to_remove=[EDGE_HEADER],
    )
    if tracing.traced(settings):
        tracing.name_spans(message, str(service.name))
    return message


def _to_application(service: Service) -> list[Any]:
    if service.protocol is Protocol.TCP:
        return [connections.to_application(APP, service)]
    return [
        route_components_pb2.Route(
            name=APP,
            match=match,
            route=route_components_pb2.RouteAction(
                cluster=APP, timeout=milliseconds(timeout_ms), upgrade_configs=offered
            ),
        )
        for match, offered, timeout_ms in upgrades.routes(service, service.longest.request_ms)
    ]
