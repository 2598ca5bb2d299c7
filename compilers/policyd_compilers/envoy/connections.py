"""Connections to `tcp` services: each is one stream (CONNECT) of HTTP/2 between sidecars, judged before it is open.

application -> loopback listener -> own outbound listener -> callee's inbound listener -> application

So weights, fallbacks, rules, revocation, health and counters are those of requests, and all of them live where a
change closes nothing (RDS, EDS). The rules of a network filter would ride in the listener, whose every change ends
connections that are allowed still, and would be asked when a client has sent its first byte, too late for a server
that speaks first. Source: RFC 9113, section 8.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from policyd.compiler.failover import Ways
from policyd.compiler.naming import OUTBOUND, connections_name, host_names, outbound_address
from policyd.model.mesh import Settings
from policyd.model.methods import CONNECTION
from policyd.model.names import dns_name
from policyd.model.node import Node
from policyd.model.resilience import Resilience
from policyd.model.service import Protocol, Service
from policyd.model.ways import Known, forks
from policyd_compilers.envoy import access_log, breakers, clusters, routes
from policyd_compilers.envoy.endpoints import fixed_assignment, socket_address
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, seconds, uint32

IDLE_GRACE_MS = 10_000
"""How much longer the callee bears with silence: the caller's route ends it, and says so in the log."""
_Upgrade = route_components_pb2.RouteAction.UpgradeConfig


def listener(settings: Settings, node: Node, service: Service, port: int) -> Any:
    """The loopback listener for one destination. Every connection becomes a stream that names it."""
    proxy = tcp_proxy_pb2.TcpProxy(
        stat_prefix=connections_name(service.name),
        cluster=OUTBOUND,
        tunneling_config=tcp_proxy_pb2.TcpProxy.TunnelingConfig(
            hostname=f"{dns_name(settings.trust_domain, service.name)}:{service.port}"
        ),
        idle_timeout=milliseconds(0),  # the route ends silence, so that another bound is no other listener
        max_connect_attempts=uint32(1),
    )
    chain = listener_components_pb2.FilterChain(
        name=OUTBOUND,
        filters=[
            listener_components_pb2.Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy)),
        ],
    )
    return listener_pb2.Listener(
        name=connections_name(service.name),
        stat_prefix=connections_name(service.name),
        address=socket_address(outbound_address(node.endpoint.address), port),
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=uint32(1 << 20),
        metadata=access_log.told(node.id),
        traffic_direction="OUTBOUND",
    )


def own_outbound(settings: Settings, node: Node) -> Any:
    """The cluster `outbound`: this sidecar's own listener for requests, which the streams are handed to."""
    message = cluster_pb2.Cluster(
        name=OUTBOUND,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(1),
        load_assignment=fixed_assignment(
            OUTBOUND, [socket_address(outbound_address(node.endpoint.address), settings.outbound_port)]
        ),
    )
    message.circuit_breakers.thresholds.append(
        circuit_breaker_pb2.CircuitBreakers.Thresholds(
            max_connections=uint32(breakers.UNBOUNDED),
            max_pending_requests=uint32(breakers.UNBOUNDED),
            max_requests=uint32(breakers.UNBOUNDED),
        )
    )
    clusters.speak(message, Protocol.TCP, idle_ms=clusters.APP_IDLE_MS, alpn=False)
    return message


def virtual_host(settings: Settings, service: Service, known: Known, ways: Ways, *, local: bool) -> Any:
    """The names of a destination, with its port as CONNECT writes it and without, and the way to its versions."""
    names = host_names(settings, service.name, local=local)
    found = []
    for fork in forks(service, None, known):
        if fork.headers:
            continue  # a connection brings none
        action = routes.action_to(fork.ways, ways)
        followers = routes.followers(fork.ways, ways)
        bounds = _of_connections(settings, service.resilience)
        routes.finish(action, bounds, 0, [_offered()], followers, protocol=service.protocol)
        found.append(route_components_pb2.Route(name="split", match=_match(), route=action))
    return route_components_pb2.VirtualHost(
        name=str(service.name),
        domains=[*names, *(f"{name}:{service.port}" for name in names)],
        routes=found,
    )


def to_application(cluster: str, service: Service) -> Any:
    """The one inbound route of a `tcp` service: here the stream becomes a connection again."""
    offered = _offered()
    offered.connect_config.SetInParent()
    return route_components_pb2.Route(
        name=cluster,
        match=_match(),
        route=route_components_pb2.RouteAction(
            cluster=cluster,
            timeout=milliseconds(0),
            idle_timeout=milliseconds(_inner_idle_ms(service)),
            upgrade_configs=[offered],
        ),
    )


def _of_connections(settings: Settings, resilience: Resilience) -> Resilience:
    """Bounds of a stream. One that is not open yet may be asked for again; one that is has an end.

    A live connection keeps the certificates that it began with: half a leaf's life is as old as one may get.
    """
    longest = settings.leaf_s // 2 * 1_000
    timeouts = resilience.timeouts
    return replace(
        resilience,
        timeouts=replace(timeouts, per_try_ms=0, stream_ms=min(timeouts.stream_ms or longest, longest)),
        retries=replace(resilience.retries, methods=(CONNECTION,)),
    )


def _inner_idle_ms(service: Service) -> int:
    idle_ms = service.resilience.timeouts.idle_ms
    return idle_ms + IDLE_GRACE_MS if idle_ms else 0


def _match() -> Any:
    return route_components_pb2.RouteMatch(connect_matcher=route_components_pb2.RouteMatch.ConnectMatcher())


def _offered() -> Any:
    return _Upgrade(upgrade_type=CONNECTION, enabled=boolean(True))
