"""What the application reaches: the destinations that its identity may call, each by its names, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import string_pb2

from policyd.compiler.failover import Ways
from policyd.compiler.naming import OUTBOUND, host_names, outbound_address
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.service import HeaderMatch, Service
from policyd_compilers.envoy import access_log, balancing, failover, manager, replies, retries, tracing, upgrades
from policyd_compilers.envoy.endpoints import socket_address
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, uint32

_Manager = http_connection_manager_pb2.HttpConnectionManager
IDLE_MS = 300_000


def route_config_name(caller: Name) -> str:
    """The RDS resource with what a service may call: `outbound/namespace/service`."""
    return f"{OUTBOUND}/{caller}"


def filter_chain(settings: Settings, caller: Name) -> Any:
    """The one filter chain of a service's outbound listeners."""
    message = manager.base(OUTBOUND, route_config_name(caller), idle_ms=IDLE_MS, stream_idle_ms=IDLE_MS)
    message.path_with_escaped_slashes_action = _Manager.KEEP_UNCHANGED
    message.forward_client_cert_details = _Manager.SANITIZE
    message.skip_xff_append = True  # the application's address on loopback tells nobody anything
    message.local_reply_config.CopyFrom(replies.outbound(caller))
    message.access_log.append(access_log.outbound())
    tracing.trace(message, settings, caller)
    manager.add_router(message)
    return listener_components_pb2.FilterChain(
        name=OUTBOUND,
        filters=[
            listener_components_pb2.Filter(
                name="envoy.filters.network.http_connection_manager", typed_config=pack(message)
            )
        ],
    )


def listener(chain: Any, address: str, port: int) -> Any:
    """The outbound listener of one instance."""
    return listener_pb2.Listener(
        name=OUTBOUND,
        stat_prefix=OUTBOUND,
        address=socket_address(outbound_address(address), port),
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=uint32(1 << 20),
        traffic_direction="OUTBOUND",
    )


def routes(settings: Settings, caller: Name, destinations: Iterable[Service], ways: Ways) -> Any:
    """The route configuration of a caller: one virtual host for each destination, a refusal for every other host."""
    hosts = [
        virtual_host(settings, service, ways, local=service.name.namespace == caller.namespace)
        for service in destinations
    ]
    message = route_pb2.RouteConfiguration(
        name=route_config_name(caller),
        virtual_hosts=[*hosts, _refusal()],
        validate_clusters=boolean(False),
    )
    if tracing.traced(settings):
        tracing.name_spans(message)
    return message


def virtual_host(settings: Settings, service: Service, ways: Ways, *, local: bool) -> Any:
    """The names of a destination and the way to its versions. Only its own namespace calls it by the short name."""
    split = service.split
    found = []
    for match, offered, timeout_ms in upgrades.routes(service, service.resilience.timeouts.request_ms):
        if split.first is not None:
            first = _action(service, [(split.first_version, 1)], timeout_ms, offered, ways)
            found.append(route_components_pb2.Route(name="first", match=_with(match, split.first), route=first))
        action = _action(service, split.weights, timeout_ms, offered, ways)
        found.append(route_components_pb2.Route(name="split", match=match, route=action))
    return route_components_pb2.VirtualHost(
        name=str(service.name), domains=host_names(settings, service.name, local=local), routes=found
    )


def _action(
    service: Service, weights: Sequence[tuple[str, int]], timeout_ms: int, offered: Sequence[Any], ways: Ways
) -> Any:
    followers = max(len(ways.get((service.name, version), ())) for version, _ in weights) - 1
    action = route_components_pb2.RouteAction(
        timeout=milliseconds(timeout_ms),
        upgrade_configs=offered,
        idle_timeout=milliseconds(service.resilience.timeouts.idle_ms),
        retry_policy=retries.policy(service.resilience, max(0, followers)),
        cluster_not_found_response_code=route_components_pb2.RouteAction.SERVICE_UNAVAILABLE,
    )
    if service.resilience.timeouts.stream_ms:
        bound = milliseconds(service.resilience.timeouts.stream_ms)
        action.max_stream_duration.max_stream_duration.CopyFrom(bound)
    if len(weights) == 1:
        action.cluster = failover.target(service.name, weights[0][0], ways)
    else:
        action.weighted_clusters.clusters.extend(
            route_components_pb2.WeightedCluster.ClusterWeight(
                name=failover.target(service.name, version, ways), weight=uint32(weight)
            )
            for version, weight in weights
        )
    balancing.hashed(action, service.resilience.load_balancing)
    return action


def _with(match: Any, header: HeaderMatch) -> Any:
    """The same requests, as far as they bring the header."""
    narrower = route_components_pb2.RouteMatch()
    narrower.CopyFrom(match)
    narrower.headers.append(
        route_components_pb2.HeaderMatcher(
            name=header.name, string_match=string_pb2.StringMatcher(exact=header.value)
        )
    )
    return narrower


def _refusal() -> Any:
    """Every other host: 403. The route's name is the reason, in the reply (`replies.outbound`) and in the log."""
    return route_components_pb2.VirtualHost(
        name=NOT_IN_SCOPE,
        domains=["*"],
        routes=[
            route_components_pb2.Route(
                name=NOT_IN_SCOPE,
                match=route_components_pb2.RouteMatch(prefix="/"),
                direct_response=route_components_pb2.DirectResponseAction(status=403),
            )
        ],
    )
