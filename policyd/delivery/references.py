"""What one xDS resource uses and offers, read from its bytes once.

`snapshot.consistent` compares these across the resources of a node, and the xDS server uses them to know which
endpoints go with which cluster. The reader walks every message of a resource, `Any` fields included, so a name is
found wherever it stands: in a weighted route, a mirror policy, a TLS context inside a filter chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Imported for their descriptors: an `Any` can only be opened if its type is in the pool.
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.config.trace.v3 import opentelemetry_pb2
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2 as aggregate_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from google.protobuf.message import DecodeError, Message

from policyd.compiler.artifact import Artifact
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

_ROOTS: dict[str, type[Any]] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
    SECRET: secret_pb2.Secret,
}

_OPENED: dict[str, type[Any]] = {
    message.DESCRIPTOR.full_name: message
    for message in (
        aggregate_pb2.ClusterConfig,
        http_connection_manager_pb2.HttpConnectionManager,
        opentelemetry_pb2.OpenTelemetryConfig,
        rbac_pb2.RBAC,
        rbac_pb2.RBACPerRoute,
        tcp_proxy_pb2.TcpProxy,
        tls_pb2.DownstreamTlsContext,
        tls_pb2.UpstreamTlsContext,
    )
}


@dataclass(frozen=True, slots=True)
class RouteUse:
    """A connection manager that takes its routes by RDS, and the HTTP filters that it runs."""

    route: str
    filters: frozenset[str]


@dataclass(frozen=True, slots=True)
class References:
    """Names that a resource uses, what it takes for itself, and what is wrong with it alone."""

    own_name: str = ""
    clusters: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    routes: tuple[RouteUse, ...] = ()
    secrets: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    filter_overrides: frozenset[str] = frozenset()
    """Names of the HTTP filters that a route configuration configures per route."""
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    clusters: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)
    routes: list[RouteUse] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    addresses: list[str] = field(default_factory=list)
    filter_overrides: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def read_references(artifact: Artifact) -> References:
    """Read one resource. A type that policyd does not deliver has no references; broken bytes are a fault."""
    root = _ROOTS.get(artifact.kind)
    if root is None:
        return References(own_name=artifact.name)
    message = root()
    try:
        message.ParseFromString(artifact.body)
    except DecodeError as error:
        return References(faults=(f"is not a valid message: {error}",))
    found = _Found()
    for part in _walk(message):
        visit = _VISITORS.get(part.DESCRIPTOR.full_name)
        if visit is not None:
            visit(part, found)
    own_name = message.cluster_name if artifact.kind == ENDPOINT else message.name
    return References(
        own_name=own_name,
        clusters=frozenset(found.clusters),
        endpoints=frozenset(found.endpoints),
        routes=tuple(found.routes),
        secrets=frozenset(found.secrets),
        addresses=tuple(found.addresses),
        filter_overrides=frozenset(found.filter_overrides),
        faults=tuple(found.faults),
    )


def _walk(message: Message) -> Iterator[Any]:
    """`message` and every message below it, depth first; an `Any` of a known type is opened."""
    yield message
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        opened = _OPENED.get(message.type_url.rsplit("/", 1)[-1])  # type: ignore[attr-defined]
        if opened is not None:
            yield from _walk(opened.FromString(message.value))  # type: ignore[attr-defined]
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            if descriptor.message_type.fields_by_name["value"].message_type is not None:
                for key in sorted(value):
                    yield from _walk(value[key])
        elif descriptor.is_repeated:
            for item in value:
                yield from _walk(item)
        else:
            yield from _walk(value)


def _cluster(message: Any, found: _Found) -> None:
    if message.type == cluster_pb2.Cluster.EDS:
        found.endpoints.add(message.eds_cluster_config.service_name or message.name)


def _aggregate(message: Any, found: _Found) -> None:
    found.clusters.update(message.clusters)


def _listener(message: Any, found: _Found) -> None:
    sockets = [message.address, *(extra.address for extra in message.additional_addresses)]
    for address in sockets:
        where = address.socket_address
        if where.address:
            found.addresses.append(f"{where.address}:{where.port_value}")
        elif address.pipe.path:
            found.addresses.append(address.pipe.path)


def _connection_manager(message: Any, found: _Found) -> None:
    filters = frozenset(http_filter.name for http_filter in message.http_filters)
    if message.HasField("rds"):
        found.routes.append(RouteUse(message.rds.route_config_name, filters))
    elif message.HasField("route_config"):
        overrides = _overrides(message.route_config)
        found.faults.extend(
            f"configures the filter `{name}` per route where it does not run" for name in sorted(overrides - filters)
        )


def _route_configuration(message: Any, found: _Found) -> None:
    found.filter_overrides.update(_overrides(message))
    hosts = Counter(host.name for host in message.virtual_hosts)
    found.faults.extend(f"has the virtual host `{name}` {count} times" for name, count in _repeated(hosts))
    domains = Counter(domain.lower() for host in message.virtual_hosts for domain in host.domains)
    found.faults.extend(f"has the domain `{name}` {count} times" for name, count in _repeated(domains))


def _overrides(configuration: Any) -> set[str]:
    names: set[str] = set(configuration.typed_per_filter_config)
    for host in configuration.virtual_hosts:
        names.update(host.typed_per_filter_config)
        for route in host.routes:
            names.update(route.typed_per_filter_config)
            for weighted in route.route.weighted_clusters.clusters:
                names.update(weighted.typed_per_filter_config)
    return names


def _repeated(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted((name, count) for name, count in counts.items() if count > 1)


def _route_action(message: Any, found: _Found) -> None:
    if message.cluster:
        found.clusters.add(message.cluster)
    found.clusters.update(weighted.name for weighted in message.weighted_clusters.clusters if weighted.name)
    found.clusters.update(mirror.cluster for mirror in message.request_mirror_policies if mirror.cluster)


def _tcp_proxy(message: Any, found: _Found) -> None:
    if message.cluster:
        found.clusters.add(message.cluster)
    found.clusters.update(weighted.name for weighted in message.weighted_clusters.clusters)


def _grpc(message: Any, found: _Found) -> None:
    found.clusters.add(message.cluster_name)


def _sds_secret(message: Any, found: _Found) -> None:
    if message.HasField("sds_config"):
        found.secrets.add(message.name)


def _rbac_per_route(message: Any, found: _Found) -> None:
    if not message.HasField("rbac"):
        found.faults.append("has an `RBACPerRoute` without rules, which switches the filter off")


_VISITORS: dict[str, Callable[[Any, _Found], None]] = {
    "envoy.config.cluster.v3.Cluster": _cluster,
    "envoy.config.core.v3.GrpcService.EnvoyGrpc": _grpc,
    "envoy.config.listener.v3.Listener": _listener,
    "envoy.config.route.v3.RouteAction": _route_action,
    "envoy.config.route.v3.RouteConfiguration": _route_configuration,
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": _aggregate,
    "envoy.extensions.filters.http.rbac.v3.RBACPerRoute": _rbac_per_route,
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": _connection_manager,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _tcp_proxy,
    "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig": _sds_secret,
}
