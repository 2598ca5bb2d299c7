"""The way into the mesh: listeners at the edge, told apart by the name that a client's handshake asks for.

    port -> listener -> chain for the names of one certificate -> its own routes (`gateway_routes`)

What holds for every request stands in the chain: canonical, no claims from outside, addresses, tokens. A chain whose
certificate is not to be had is left out, and so is a listener without chains: the port is closed. Clients of other
names, or of none, are not answered.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from envoy.config.core.v3 import protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from policyd.compiler.naming import EDGE, certificate_secret
from policyd.model.gateway import Gateway, Listener
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.tokens import Issuer
from policyd_compilers.envoy import (
    access_log,
    canonical,
    gateway_routes,
    manager,
    rbac,
    replies,
    tls,
    tokens,
    tracing,
)
from policyd_compilers.envoy.endpoints import socket_address
from policyd_compilers.envoy.proto import pack, seconds, uint32

_Manager = http_connection_manager_pb2.HttpConnectionManager
IDLE_MS = 300_000
STREAMS = 100
MAX_HEADERS, MAX_HEADERS_KB = manager.MAX_HEADERS - 20, manager.MAX_HEADERS_KB - 8
"""Less than a service takes, since a gateway adds headers of its own. The service would reset the request, and what
anybody outside sends would count as the service's failure: its instances are ejected and its releases stop."""
STREAM_WINDOW, CONNECTION_WINDOW = 64 * 1024, 1024 * 1024
"""What one client may make a gateway hold. Source: Envoy's documentation, "Configuring Envoy as an edge proxy"."""
FROM_INSIDE = (
    *manager.CLAIMS,
    "x-policyd-",
    "x-forwarded-client-cert",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "forwarded",
    "traceparent",
    "tracestate",
)
"""Headers that mean something between services, or claim what a gateway has seen itself; nobody outside says them."""
OF_HOPS = ("x-forwarded-for", "x-forwarded-proto")
"""What proxies in front say, if any are trusted."""


def open_listeners(gateway: Gateway) -> tuple[Listener, ...]:
    """Those whose certificate is to be had, or that need none."""
    return tuple(each for each in gateway.listeners if each.certificate not in gateway.missing)


def open_ports(gateway: Gateway) -> tuple[int, ...]:
    """Where it listens: a port with nothing to show is closed."""
    return tuple(sorted({each.port for each in open_listeners(gateway)}))


def listener_name(port: int) -> str:
    """The LDS resource of a port: `edge/443`."""
    return f"{EDGE}/{port}"


def reads(settings: Settings, gateway: Gateway) -> Hashable:
    """What its listeners depend on; a change of it drains connections, one of the routes does not."""
    issuer = _issuer(settings, gateway)
    return (
        open_listeners(gateway), gateway.trusted_hops, bool(gateway.allow_from), gateway.issuer, issuer,
        settings.tracing,
    )  # fmt: skip


def listener(settings: Settings, name: Name, gateway: Gateway, node: Node, port: int) -> Any:
    """The listener of one open port on one instance."""
    chains = [_chain(settings, name, gateway, each) for each in open_listeners(gateway) if each.port == port]
    message = listener_pb2.Listener(
        name=listener_name(port),
        stat_prefix=EDGE,
        address=socket_address(node.endpoint.address, port),
        filter_chains=chains,
        per_connection_buffer_limit_bytes=uint32(1 << 15),
        listener_filters_timeout=seconds(5),
        metadata=access_log.told(node.id),
        traffic_direction="INBOUND",
    )
    if any(each.certificate for each in gateway.listeners if each.port == port):
        message.listener_filters.append(
            listener_components_pb2.ListenerFilter(
                name="envoy.filters.listener.tls_inspector", typed_config=pack(tls_inspector_pb2.TlsInspector())
            )
        )
    return message


def _chain(settings: Settings, name: Name, gateway: Gateway, listener: Listener) -> Any:
    """The names of one certificate. Without TLS there are no names to go by before the request."""
    routes = gateway_routes.config_name(name, listener)
    chain = listener_components_pb2.FilterChain(
        name=routes,
        filters=[
            listener_components_pb2.Filter(
                name="envoy.filters.network.http_connection_manager",
                typed_config=pack(_manager(settings, name, gateway, routes)),
            )
        ],
        transport_socket_connect_timeout=seconds(5),
    )
    if listener.certificate:
        chain.filter_chain_match.server_names.extend(listener.hosts)
        chain.filter_chain_match.transport_protocol = "tls"
        chain.transport_socket.CopyFrom(tls.edge(certificate_secret(listener.certificate)))
    return chain


def _manager(settings: Settings, name: Name, gateway: Gateway, routes: str) -> Any:
    message = manager.base(EDGE, routes, idle_ms=IDLE_MS, stream_idle_ms=IDLE_MS)
    message.path_with_escaped_slashes_action = _Manager.REJECT_REQUEST
    message.forward_client_cert_details = _Manager.SANITIZE
    message.preserve_external_request_id = False
    message.xff_num_trusted_hops = gateway.trusted_hops
    hidden = FROM_INSIDE if gateway.trusted_hops else (*FROM_INSIDE, *OF_HOPS)
    del message.early_header_mutation_extensions[:]
    message.early_header_mutation_extensions.append(manager.without(hidden))
    common = message.common_http_protocol_options
    common.max_headers_count.CopyFrom(uint32(MAX_HEADERS))
    common.headers_with_underscores_action = protocol_pb2.HttpProtocolOptions.REJECT_REQUEST
    message.max_request_headers_kb.CopyFrom(uint32(MAX_HEADERS_KB))
    options = message.http2_protocol_options
    options.max_concurrent_streams.CopyFrom(uint32(STREAMS))
    options.initial_stream_window_size.CopyFrom(uint32(STREAM_WINDOW))
    options.initial_connection_window_size.CopyFrom(uint32(CONNECTION_WINDOW))
    message.local_reply_config.CopyFrom(replies.edge())
    message.access_log.append(access_log.edge())
    tracing.trace(message, settings, name)
    manager.add_filter(message, canonical.FILTER, canonical.filter_config(opaque_paths=False))
    if gateway.allow_from:
        manager.add_filter(message, gateway_routes.ADDRESSES, rbac.deny_all())
    if gateway.issuer:
        issuer = _issuer(settings, gateway)
        if issuer is not None and (demanding := tokens.demanding(issuer)) is not None:
            manager.add_filter(message, tokens.FILTER, demanding)
        manager.add_filter(message, gateway_routes.TOKENS, filter_pb2.RBAC())
    manager.add_router(message)
    return message


def _issuer(settings: Settings, gateway: Gateway) -> Issuer | None:
    return next((each for each in settings.issuers if each.name == gateway.issuer), None)


def believed(settings: Settings, gateway: Gateway) -> bool:
    """Whether tokens that the gateway asks for can be judged: their issuer has keys."""
    issuer = _issuer(settings, gateway)
    return issuer is not None and tokens.demanding(issuer) is not None
