"""External hosts: the way out of the mesh from a caller's own sidecar, which judges and encrypts.

There is no sidecar on the other side, so the rules ride on the host's virtual host in the caller's outbound routes,
made for this one caller. The listener's filters let everything pass that has no rules: calls within the mesh are
judged where they arrive. So a virtual host of an external host without rules must be impossible: a test walks the
output.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2

from policyd.compiler.naming import cluster_name
from policyd.compiler.sources import Outside
from policyd.model.external import VERSION
from policyd.model.mesh import Settings
from policyd.model.names import Name, spiffe_id
from policyd.model.service import Service
from policyd_compilers.envoy import balancing, breakers, canonical, clusters, manager, outliers, rbac, tls
from policyd_compilers.envoy import routes as rule_routes
from policyd_compilers.envoy.endpoints import fixed_assignment, socket_address
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, seconds

DNS_REFRESH_S = 30
PLAIN_PORT, TLS_PORT = 80, 443
CALLERS_HEADERS = ("x-request-id", "x-forwarded-proto", "x-envoy-external-address", "traceparent", "tracestate")
"""What is between the services of the mesh; nobody outside has to know which of its calls belong together."""


def reachable(settings: Settings, service: Service) -> bool:
    """Whether its certificate can be verified: roots that the settings do not know close the way."""
    assert service.external is not None
    return not service.external.roots or service.external.roots in tls.system_or_named(settings)


def cluster(settings: Settings, service: Service) -> Any:
    """The host, found by DNS or at its addresses, behind TLS that names it."""
    external = service.external
    assert external is not None
    name = cluster_name(service.name, VERSION)
    places = external.addresses or (external.host,)
    message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STATIC if external.addresses else cluster_pb2.Cluster.STRICT_DNS,
        connect_timeout=milliseconds(service.resilience.timeouts.connect_ms),
        load_assignment=fixed_assignment(name, [socket_address(place, service.port) for place in places]),
    )
    if not external.addresses:
        message.dns_refresh_rate.CopyFrom(seconds(DNS_REFRESH_S))
        message.respect_dns_ttl = True
        message.wait_for_warm_on_init.CopyFrom(boolean(False))  # a name that cannot be found must hold up nothing
    clusters.mark_distrusted(message, settings.distrusted)
    if external.roots:
        roots = tls.system_or_named(settings)[external.roots]
        message.transport_socket.CopyFrom(tls.outside(roots, external.host, tls.ALPN))
    balancing.balance(message, service.resilience.load_balancing, panic=service.resilience.panic)
    message.circuit_breakers.thresholds.append(breakers.of(service, fails_over=False))
    if (detection := outliers.asked(service, fails_over=False)) is not None:
        message.outlier_detection.CopyFrom(outliers.detection(detection))
    clusters.speak(message, service.protocol, idle_ms=service.resilience.timeouts.idle_ms, alpn=bool(external.roots))
    return message


def virtual_host(settings: Settings, caller: Name, outside: Outside) -> Any:
    """The host's name, judged by the rules for this caller, and nothing of the mesh's own sent out."""
    service = outside.service
    assert service.external is not None
    route = route_components_pb2.Route(
        name="split",
        match=route_components_pb2.RouteMatch(prefix="/"),
        route=route_components_pb2.RouteAction(cluster=cluster_name(service.name, VERSION)),
    )
    if service.port != (TLS_PORT if service.external.roots else PLAIN_PORT):
        # The sidecar took the port away to know the host; RFC 9110, section 7.2, wants it where it is unusual.
        route.route.host_rewrite_literal = f"{service.external.host}:{service.port}"
    rule_routes.finish(
        route.route, service.resilience, service.resilience.timeouts.request_ms, protocol=service.protocol
    )
    identity = spiffe_id(settings.trust_domain, caller)
    judged = rbac.per_caller(settings, service, outside.access, identity)
    canon = filter_pb2.RBACPerRoute(rbac=canonical.filter_config(opaque_paths=False))
    return route_components_pb2.VirtualHost(
        name=str(service.name),
        domains=[service.external.host],
        routes=[route],
        request_headers_to_remove=CALLERS_HEADERS,
        typed_per_filter_config={canonical.FILTER: pack(canon), rbac.FILTER: pack(judged)},
    )


def add_filters(message: Any) -> None:
    """The filters that an external host's rules act in; without rules of a virtual host they let pass."""
    manager.add_filter(message, canonical.FILTER, filter_pb2.RBAC())
    manager.add_filter(message, rbac.FILTER, filter_pb2.RBAC())
