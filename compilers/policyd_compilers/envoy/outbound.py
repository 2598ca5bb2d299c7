"""What the application reaches: the destinations that its identity may call, each by its names, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from policyd.compiler.failover import Ways
from policyd.compiler.naming import OUTBOUND, host_names, outbound_address
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.compiler.sources import Outside
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.service import Protocol, Service
from policyd.model.ways import Known, forks
from policyd_compilers.envoy import (
    access_log,
    connections,
    egress,
    grpc_stats,
    manager,
    replies,
    route_actions,
    tracing,
    upgrades,
)
from policyd_compilers.envoy import routes as rule_routes
from policyd_compilers.envoy.endpoints import socket_address
from policyd_compilers.envoy.proto import boolean, pack, uint32

_Manager = http_connection_manager_pb2.HttpConnectionManager
IDLE_MS = 300_000


def route_config_name(caller: Name) -> str:
    """The RDS resource with what a service may call: `outbound/namespace/service`."""
    return f"{OUTBOUND}/{caller}"


@dataclass(frozen=True, slots=True)
class Extras:
    """What a listener has only where some route in scope asks for it."""

    faults: bool = False
    redirects: bool = False
    outside: bool = False
    """Whether requests leave the mesh from here, judged here."""
    grpc: bool = False

    @classmethod
    def of(cls, destinations: Iterable[Service], *, outside: bool = False) -> Extras:
        """What the rules of these destinations ask for."""
        found = tuple(destinations)
        routed = [each.route for each in found if each.route is not None]
        rules = [rule for route in routed for rule in route.rules]
        return cls(
            any(rule.fault for rule in rules), any(rule.redirect for rule in rules), outside, _speaks_grpc(found)
        )


def _speaks_grpc(destinations: Iterable[Service]) -> bool:
    return any(each.protocol is Protocol.GRPC for each in destinations)


def filter_chain(settings: Settings, caller: Name, extras: Extras) -> Any:
    """The one filter chain of a service's outbound listeners."""
    message = manager.base(OUTBOUND, route_config_name(caller), idle_ms=IDLE_MS, stream_idle_ms=IDLE_MS)
    message.path_with_escaped_slashes_action = _Manager.KEEP_UNCHANGED
    message.forward_client_cert_details = _Manager.SANITIZE
    message.skip_xff_append = True  # the application's address on loopback tells nobody anything
    message.local_reply_config.CopyFrom(
        replies.outbound(caller, redirects=extras.redirects, judged=extras.outside, grpc=extras.grpc)
    )
    message.access_log.append(access_log.outbound(judged=extras.outside))
    tracing.trace(message, settings, caller)
    if extras.outside:
        egress.add_filters(message)
    if extras.faults:
        manager.add_filter(message, route_actions.FAULT, route_actions.no_fault())
    if extras.grpc:
        grpc_stats.add_filter(message)
    manager.add_router(message)
    return listener_components_pb2.FilterChain(
        name=OUTBOUND,
        filters=[
            listener_components_pb2.Filter(
                name="envoy.filters.network.http_connection_manager", typed_config=pack(message)
            )
        ],
    )


def listener(chain: Any, node: Node, port: int) -> Any:
    """The outbound listener of one instance."""
    return listener_pb2.Listener(
        name=OUTBOUND,
        stat_prefix=OUTBOUND,
        address=socket_address(outbound_address(node.endpoint.address), port),
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=uint32(1 << 20),
        metadata=access_log.told(node.id),
        traffic_direction="OUTBOUND",
    )


def routes(
    settings: Settings, caller: Name, destinations: Sequence[Service], ways: Ways, outside: Sequence[Outside] = ()
) -> Any:
    """The route configuration of a caller: one virtual host for each destination, a refusal for every other host."""
    known = {service.name: service for service in destinations}.get
    hosts = [
        virtual_host(settings, service, known, ways, local=service.name.namespace == caller.namespace)
        for service in destinations
    ]
    hosts += [egress.virtual_host(settings, caller, each) for each in outside]
    message = route_pb2.RouteConfiguration(
        name=route_config_name(caller),
        virtual_hosts=[*hosts, _refusal()],
        validate_clusters=boolean(False),
    )
    if tracing.traced(settings):
        tracing.name_spans(message)
    return message


def virtual_host(settings: Settings, service: Service, known: Known, ways: Ways, *, local: bool) -> Any:
    """The names of a destination and the way to its versions. Only its own namespace calls it by the short name."""
    if service.protocol is Protocol.TCP:
        return connections.virtual_host(settings, service, known, ways, local=local)
    rules = service.route.rules if service.route is not None else ()
    found = [route for rule in rules for route in rule_routes.of_rule(service, rule, known, ways)]
    for match, offered, timeout_ms in upgrades.routes(service, service.resilience.timeouts.request_ms):
        for fork in forks(service, None, known):
            action = rule_routes.action_to(fork.ways, ways)
            followers = rule_routes.followers(fork.ways, ways)
            rule_routes.finish(action, service.resilience, timeout_ms, offered, followers, protocol=service.protocol)
            narrower = rule_routes.with_headers(match, fork.headers)
            name = "first" if fork.headers else "split"
            found.append(route_components_pb2.Route(name=name, match=narrower, route=action))
    return route_components_pb2.VirtualHost(
        name=str(service.name), domains=host_names(settings, service.name, local=local), routes=found
    )


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
