"""The compiler: one node's share of the mesh, from parts that are compiled once and shared by all who hold them.

    node = listeners (its addresses) + its service's share (routes, rules) + each destination's clusters, endpoints

What a share is made of is named by the digests of the values that it reads, so that compiling a node again after
an unrelated change costs two look-ups and returns the very same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from types import MappingProxyType

from policyd.base.codes import Explanation
from policyd.compiler import failover as failing
from policyd.compiler import losses as shared_losses
from policyd.compiler.artifact import Artifact, Compiled, Loss
from policyd.compiler.connections import local_ports, of_application, of_sidecar
from policyd.compiler.failover import Ways
from policyd.compiler.memo import Memo
from policyd.compiler.naming import (
    APP,
    COLLECTOR,
    INBOUND,
    OUTBOUND,
    cluster_name,
    connections_name,
    failover_name,
    pinned_cluster_name,
)
from policyd.compiler.protocol import Capabilities, ListenAddress, Secrets, Validation
from policyd.compiler.sources import Index, Outside, Sources
from policyd.model.access import Access
from policyd.model.external import VERSION
from policyd.model.gateway import Gateway
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.service import Endpoint, Service, Split, Version
from policyd.model.ways import asides
from policyd_compilers.envoy import (
    balancing,
    clusters,
    connections,
    egress,
    endpoints,
    failover,
    gateway_routes,
    inbound,
    losses,
    narrowing,
    outbound,
    proto,
    rbac,
    readback,
    tracing,
)
from policyd_compilers.envoy import bootstrap as bootstraps
from policyd_compilers.envoy import gateway as edge
from policyd_compilers.envoy import render as rendering
from policyd_compilers.envoy import validation as validating

NAME = "envoy"
CAPABILITIES = Capabilities(
    delivery="xds", live_access_rules=True, weighted_versions=True, header_match=True, conditions=rbac.CONDITIONS
)
_SAYS = shared_losses.Says(NAME, CAPABILITIES.conditions, losses.of_service)
_IN_ORDER = attrgetter("kind", "name")


@dataclass(frozen=True, slots=True)
class Share:
    """What all instances of a service hold alike."""

    artifacts: tuple[Artifact, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """Instances under the cluster that holds them; `fails_over`: calls are led along it while others are down."""

    name: str
    service: Service
    version: Version
    fails_over: bool


class EnvoyCompiler:
    """Compiles sidecars for Envoy by xDS. It has no state: what may be remembered is in the caller's memo."""

    name = NAME
    id = "envoy-7"
    capabilities = CAPABILITIES
    codes: Mapping[str, Explanation] = MappingProxyType({})

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        """The listeners, routes, clusters and endpoints of `node`. Raises `KeyError` for an unknown service."""
        sources = Index.of(mesh)[node.service]
        return memo.get(
            (NAME, sources.key, node.id, node.endpoint), lambda: _node(sources, node, memo), counted=False
        )

    def losses(self, mesh: Mesh, memo: Memo) -> tuple[Loss, ...]:
        """What `compile` would return as lost for all nodes of the mesh together."""
        return shared_losses.of_mesh(mesh, _SAYS, memo)

    def render(self, artifact: Artifact) -> str:
        """The artefact as YAML with every `Any` opened."""
        return rendering.render(artifact)

    def narrowed(
        self,
        artifact: Artifact,
        revoked: Sequence[str],
        distrusted: Sequence[str] = (),
        barred: Sequence[Name] = (),
    ) -> Artifact:
        """What serves or calls peers, closed to `revoked` and `distrusted` as well; every other artefact as it is."""
        return narrowing.narrowed(artifact, revoked, distrusted, barred)

    def validation(self, compiled: Compiled, node: Node, secrets: Secrets) -> Validation:
        """A static bootstrap with the same resources, for `envoy --mode validate`."""
        return validating.validation(compiled, node, secrets)

    def splits(self, artifacts: Iterable[Artifact]) -> Mapping[Name, Split]:
        """Where the outbound routes among `artifacts` lead requests to."""
        return readback.splits(artifacts)

    def bootstrap(self, node: Node, xds: ListenAddress, admin: ListenAddress) -> bytes:
        """What the proxy itself is started with; everything else comes from `xds`."""
        return bootstraps.bootstrap(node, xds, admin)


def _share(sources: Sources, zone: str, memo: Memo) -> Share:
    settings, service = sources.settings, sources.service
    inside, ways = sources.inside, failing.ways(sources)
    artifacts = [artifact for each in inside for artifact in _destination(settings, each, zone, memo)]
    artifacts += [artifact for way in ways.values() for artifact in _failover(settings, way, zone, memo)]
    artifacts += [_pinned(settings, each, version, memo) for each, version in asides(inside)]
    if service.gateway is not None:
        artifacts += _edge_routes(sources, service.gateway, ways, memo)
    else:
        artifacts += [_external(settings, each.service, memo) for each in _outside(sources)]
        artifacts.append(_outbound_routes(sources, ways, memo))
        artifacts.append(_inbound_routes(settings, service, sources.access, memo))
    artifacts += _collector(settings, memo)
    return Share(tuple(artifacts), shared_losses.of_sidecars(sources, _SAYS))


def _outside(sources: Sources) -> tuple[Outside, ...]:
    return tuple(each for each in sources.outside if egress.reachable(sources.settings, each.service))


def _node(sources: Sources, node: Node, memo: Memo) -> Compiled:
    """Its service's share, and what only this instance has: listeners and the application."""
    endpoint = node.endpoint
    places = (of(each, endpoint.zone) for each in sources.inside for of in (balancing.zone_of, failing.zone_of))
    zone = endpoint.zone if any(places) else ""
    share = memo.get((NAME, sources.key, zone), lambda: _share(sources, zone, memo), counted=False)
    service = sources.service
    if service.gateway is not None:
        own = _edge_listeners(sources, service.gateway, node, memo)
    else:
        own = [_outbound_listener(sources, node, memo), _inbound_listener(sources, node, memo)]
        own += [_application(service, endpoint, memo), *_connections(sources, node, memo)]
    return Compiled(tuple(sorted((*share.artifacts, *own), key=_IN_ORDER)), share.losses)


def _inbound_listener(sources: Sources, node: Node, memo: Memo) -> Artifact:
    settings, service, access, ports = sources.settings, sources.service, sources.access, sources.inbound_ports
    key = (INBOUND, settings.digest, inbound.reads(service, access))

    def build() -> Artifact:
        chain = memo.get(("chain", key), lambda: inbound.filter_chain(settings, service, access), counted=False)
        return proto.artifact(proto.LISTENER, INBOUND, inbound.listener(chain, node, ports))

    return memo.get(("listener", key, node.id, ports), build)


def _outbound_listener(sources: Sources, node: Node, memo: Memo) -> Artifact:
    settings, service = sources.settings, sources.service.name
    extras = outbound.Extras.of(sources.scope, outside=bool(_outside(sources)))

    def build() -> Artifact:
        key = ("chain", OUTBOUND, service, settings.tracing, extras)
        chain = memo.get(key, lambda: outbound.filter_chain(settings, service, extras), counted=False)
        return proto.artifact(proto.LISTENER, OUTBOUND, outbound.listener(chain, node, settings.outbound_port))

    return memo.get(("listener", OUTBOUND, node.id, settings.outbound_port, settings.tracing, extras), build)


def _connections(sources: Sources, node: Node, memo: Memo) -> list[Artifact]:
    """A loopback listener for each `tcp` service that may be called, and what they hand their connections to."""
    settings, endpoint = sources.settings, node.endpoint
    taken = of_application(endpoint) | of_sidecar(endpoint, settings.outbound_port, sources.inbound_ports)
    ports = local_ports(sources.service, sources.inside, taken)
    found: list[Artifact] = []
    for service in sources.inside:
        if (port := ports.get(service.name)) is None:
            continue
        key = ("connections", settings.trust_domain, node.id, service.name, service.port, port)
        found.append(memo.get(key, partial(_connections_listener, settings, node, service, port)))
    if found:
        own = ("connections", node.id, settings.outbound_port)
        found.append(memo.get(own, partial(_own_outbound, settings, node)))
    return found


def _own_outbound(settings: Settings, node: Node) -> Artifact:
    return proto.artifact(proto.CLUSTER, OUTBOUND, connections.own_outbound(settings, node))


def _connections_listener(settings: Settings, node: Node, service: Service, port: int) -> Artifact:
    message = connections.listener(settings, node, service, port)
    return proto.artifact(proto.LISTENER, connections_name(service.name), message)


def _edge_listeners(sources: Sources, gateway: Gateway, node: Node, memo: Memo) -> list[Artifact]:
    """One for each port of a gateway that has anything to answer with."""
    settings, name, found = sources.settings, sources.service.name, []
    reads = edge.reads(settings, gateway)
    for port in edge.open_ports(gateway):
        built = memo.get(
            ("edge", node.id, port, reads),
            lambda port=port: proto.artifact(  # type: ignore[misc]
                proto.LISTENER, edge.listener_name(port), edge.listener(settings, name, gateway, node, port)
            ),
        )
        found.append(built)
    return found


def _edge_routes(sources: Sources, gateway: Gateway, ways: Ways, memo: Memo) -> list[Artifact]:
    """The routes of each listener of a gateway, to the services that let it in."""
    settings, service, scope = sources.settings, sources.service, sources.inside
    read = tuple((each.name, each.split, each.resilience, each.upgrades) for each in scope)
    led = tuple((version, len(way)) for version, way in ways.items())
    key = ("edge", settings.digest, service.digest, read, led)

    def build() -> list[Artifact]:
        known, believed = {each.name: each for each in scope}.get, edge.believed(settings, gateway)
        return [
            proto.artifact(
                proto.ROUTES,
                gateway_routes.config_name(service.name, listener),
                gateway_routes.routes(settings, service, listener, known, ways, believed=believed),
            )
            for listener in edge.open_listeners(gateway)
        ]

    return memo.get(key, build)


def _collector(settings: Settings, memo: Memo) -> tuple[Artifact, ...]:
    """The cluster that spans go to, where calls are traced."""
    asked = tracing.traced(settings)
    if asked is None or asked.at is None:
        return ()
    key, to = (COLLECTOR, asked.at, settings.roots), asked.at
    return (memo.get(key, lambda: proto.artifact(proto.CLUSTER, COLLECTOR, tracing.collector(settings, to))),)


def _application(service: Service, endpoint: Endpoint, memo: Memo) -> Artifact:
    key = (APP, service.name, service.protocol, service.resilience, service.health_check, endpoint)
    return memo.get(key, lambda: proto.artifact(proto.CLUSTER, APP, clusters.application(service, endpoint)))


def _destination(settings: Settings, service: Service, caller_zone: str, memo: Memo) -> tuple[Artifact, ...]:
    """Clusters and endpoints of every version, shared by all callers, or by those of one zone."""
    zone = balancing.zone_of(service, caller_zone) or failing.zone_of(service, caller_zone)
    key = ("destination", settings.digest, service.digest, zone)
    return memo.get(key, lambda: _versions(settings, service, zone, memo), counted=False)


def _versions(settings: Settings, service: Service, caller_zone: str, memo: Memo) -> tuple[Artifact, ...]:
    found: list[Artifact] = []
    for version in service.versions:
        for zone in ("", *failing.standing_by(service)):
            name = cluster_name(service.name, version.name, zone)
            here = failing.instances(service, version, zone, caller_zone)
            held = version if here == version.endpoints else replace(version, endpoints=here)
            group = _Group(name, service, held, fails_over=bool(service.failover))
            found += _cluster(settings, group, memo), _endpoints(settings, group, caller_zone, memo)
    return tuple(found)


def _cluster(settings: Settings, group: _Group, memo: Memo) -> Artifact:
    service, fails_over = group.service, group.fails_over
    key = (
        "cluster", settings.digest, group.name, service.name, service.protocol, service.resilience,
        service.health_check, fails_over,
    )  # fmt: skip

    def build() -> Artifact:
        message = clusters.destination(settings, group.name, service, fails_over=fails_over)
        return proto.artifact(proto.CLUSTER, group.name, message)

    return memo.get(key, build)


def _external(settings: Settings, service: Service, memo: Memo) -> Artifact:
    """The cluster of a host outside of the mesh, shared by all callers."""
    name = cluster_name(service.name, VERSION)
    key = ("external", settings.roots, service.digest)
    return memo.get(key, lambda: proto.artifact(proto.CLUSTER, name, egress.cluster(settings, service)))


def _pinned(settings: Settings, service: Service, version: str, memo: Memo) -> Artifact:
    """The cluster of requests that a route pins to a version; its instances are those of the version."""
    name = pinned_cluster_name(service.name, version)
    key = ("cluster", settings.digest, name, service.protocol, service.resilience, service.health_check)
    return memo.get(
        key,
        lambda: proto.artifact(
            proto.CLUSTER,
            name,
            clusters.destination(settings, name, service, endpoints_of=cluster_name(service.name, version)),
        ),
    )


def _endpoints(settings: Settings, group: _Group, caller_zone: str, memo: Memo) -> Artifact:
    zone, preferred = balancing.zone_of(group.service, caller_zone), group.service.resilience.load_balancing.zone
    asked = (group.name, group.version, settings.inbound_port, zone, preferred)

    def build() -> Artifact:
        message = endpoints.load_assignment(*asked, fails_over=group.fails_over)
        return proto.artifact(proto.ENDPOINTS, group.name, message)

    return memo.get(("endpoints", *asked, group.fails_over), build)


def _failover(settings: Settings, way: tuple[failing.Member, ...], caller_zone: str, memo: Memo) -> list[Artifact]:
    """The aggregate of one version, and clusters of their own for the calls that are led on."""
    found: list[Artifact] = []
    for member in way[1:]:
        if not member.zone:
            group = _Group(member.cluster, member.service, member.version, fails_over=True)
            found += _cluster(settings, group, memo), _endpoints(settings, group, caller_zone, memo)
    service, members = way[0].service, tuple(member.cluster for member in way)
    name = failover_name(service.name, way[0].version.name)
    key = ("failover", settings.digest, name, service.resilience, members)

    def build() -> Artifact:
        return proto.artifact(proto.CLUSTER, name, failover.cluster(settings, service, members, name))

    return [*found, memo.get(key, build)]


def _inbound_routes(settings: Settings, service: Service, access: Access, memo: Memo) -> Artifact:
    key = (
        "inbound", settings.digest, access.digest, service.longest, service.opaque_paths, service.port,
        service.upgrades, service.protocol, service.rate_limits,
    )  # fmt: skip
    return memo.get(
        key,
        lambda: proto.artifact(
            proto.ROUTES, inbound.route_config_name(service.name), inbound.routes(settings, service, access)
        ),
    )


def _outbound_routes(sources: Sources, ways: Ways, memo: Memo) -> Artifact:
    settings, caller, scope, outside = sources.settings, sources.service.name, sources.inside, _outside(sources)
    read = tuple(
        (each.name, each.port, each.protocol, each.split, each.resilience, each.upgrades, each.route)
        for each in scope
    )
    led = tuple((version, len(way)) for version, way in ways.items())
    judged = tuple((each.service.digest, each.access.digest) for each in outside)
    key = ("outbound", settings.digest, caller, read, led, judged)
    return memo.get(
        key,
        lambda: proto.artifact(
            proto.ROUTES,
            outbound.route_config_name(caller),
            outbound.routes(settings, caller, scope, ways, outside),
        ),
    )
