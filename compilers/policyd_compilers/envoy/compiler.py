"""The compiler: one node's share of the mesh, from parts that are compiled once and shared by all who hold them.

    node = listeners (its addresses) + its service's share (routes, rules) + each destination's clusters, endpoints

What a share is made of is named by the digests of the values that it reads, so that compiling a node again after
an unrelated change costs two look-ups and returns the very same object.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from policyd.compiler.artifact import Artifact, Compiled, Loss
from policyd.compiler.memo import Memo, Same
from policyd.compiler.naming import APP, INBOUND, OUTBOUND, cluster_name
from policyd.compiler.protocol import Capabilities, ListenAddress, Validation
from policyd.model.access import Access
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.scope import Scope
from policyd.model.service import Endpoint, Protocol, Service, Version
from policyd_compilers.envoy import bootstrap as bootstraps
from policyd_compilers.envoy import clusters, endpoints, inbound, losses, outbound, proto
from policyd_compilers.envoy import render as rendering
from policyd_compilers.envoy import validation as validating

CAPABILITIES = Capabilities(delivery="xds", live_access_rules=True, weighted_versions=True, header_match=True)
_IN_ORDER = attrgetter("kind", "name")


@dataclass(frozen=True, slots=True)
class Share:
    """What all instances of a service hold alike; `key` names everything that it was compiled from."""

    key: Hashable
    settings: Settings
    service: Service
    artifacts: tuple[Artifact, ...]
    inbound_chain: Any
    outbound_chain: Any
    losses: tuple[Loss, ...]


class EnvoyCompiler:
    """Compiles sidecars for Envoy by xDS. It has no state: what may be remembered is in the caller's memo."""

    name = "envoy"
    id = "envoy-1"
    capabilities = CAPABILITIES

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        """The listeners, routes, clusters and endpoints of `node`. Raises `KeyError` for an unknown service."""
        share = memo.get(
            ("share of", Same(mesh), node.service), lambda: _share_in(mesh, node.service, memo), counted=False
        )
        return memo.get((share.key, node.endpoint), lambda: _node(share, node.endpoint))

    def render(self, artifact: Artifact) -> str:
        """The artefact as YAML with every `Any` opened."""
        return rendering.render(artifact)

    def validation(self, compiled: Compiled, node: Node) -> Validation:
        """A static bootstrap with the same resources, for `envoy --mode validate`."""
        return validating.validation(compiled, node)

    def bootstrap(self, node: Node, xds: ListenAddress, admin: ListenAddress) -> bytes:
        """What the proxy itself is started with; everything else comes from `xds`."""
        return bootstraps.bootstrap(node, xds, admin)


@dataclass(frozen=True, slots=True)
class _Sources:
    """The values that a service's share is compiled from, and nothing else."""

    settings: Settings
    service: Service
    access: Access
    scope: tuple[Service, ...]

    @property
    def key(self) -> Hashable:
        return (self.settings.digest, self.service.digest, self.access.digest, *(each.digest for each in self.scope))


def _share_in(mesh: Mesh, name: Name, memo: Memo) -> Share:
    """The share of a service in one mesh: found by the digests of what it reads, compiled if one has changed."""
    sources = _Sources(
        mesh.settings,
        mesh.services[name],
        mesh.access.get(name) or Access(name),
        tuple(mesh.services[destination] for destination in Scope.of(mesh).destinations(name)),
    )
    return memo.get(sources.key, lambda: _share(sources, memo), counted=False)


def _share(sources: _Sources, memo: Memo) -> Share:
    settings, service = sources.settings, sources.service
    carried = [each for each in sources.scope if each.protocol is not Protocol.TCP]
    artifacts = [artifact for each in carried for artifact in _destination(settings, each, memo)]
    artifacts.append(_outbound_routes(settings, service.name, carried, memo))
    inbound_chain = None
    if service.protocol is not Protocol.TCP:
        artifacts.append(_inbound_routes(settings, service, sources.access, memo))
        inbound_chain = inbound.filter_chain(settings, service)
    lost = losses.of_access(service, sources.access)
    for each in (service, *sources.scope):
        lost += losses.of_service(each)
    return Share(
        sources.key,
        settings,
        service,
        tuple(artifacts),
        inbound_chain,
        outbound.filter_chain(service.name),
        tuple(dict.fromkeys(lost)),
    )


def _node(share: Share, endpoint: Endpoint) -> Compiled:
    """What only this instance has: its two listeners and its application."""
    settings = share.settings
    own = [
        proto.artifact(
            proto.LISTENER,
            OUTBOUND,
            outbound.listener(share.outbound_chain, endpoint.address, settings.outbound_port),
        )
    ]
    if share.inbound_chain is not None:
        chain = share.inbound_chain
        own += [
            proto.artifact(proto.LISTENER, INBOUND, inbound.listener(chain, endpoint.address, settings.inbound_port)),
            proto.artifact(proto.CLUSTER, APP, clusters.application(share.service, endpoint)),
        ]
    return Compiled(tuple(sorted((*share.artifacts, *own), key=_IN_ORDER)), share.losses)


def _destination(settings: Settings, service: Service, memo: Memo) -> tuple[Artifact, ...]:
    """Clusters and endpoints of every version, shared by all callers."""
    key = ("destination", settings.digest, service.digest)
    return memo.get(key, lambda: _versions(settings, service, memo), counted=False)


def _versions(settings: Settings, service: Service, memo: Memo) -> tuple[Artifact, ...]:
    found: list[Artifact] = []
    for version in service.versions:
        found += _cluster(settings, service, version, memo), _endpoints(settings, service.name, version, memo)
    return tuple(found)


def _cluster(settings: Settings, service: Service, version: Version, memo: Memo) -> Artifact:
    name = cluster_name(service.name, version.name)
    key = ("cluster", settings.digest, name, service.protocol, service.resilience, service.health_check)
    return memo.get(
        key, lambda: proto.artifact(proto.CLUSTER, name, clusters.destination(settings, service, version))
    )


def _endpoints(settings: Settings, service: Name, version: Version, memo: Memo) -> Artifact:
    name = cluster_name(service, version.name)
    return memo.get(
        ("endpoints", settings.inbound_port, name, version.endpoints),
        lambda: proto.artifact(
            proto.ENDPOINTS, name, endpoints.load_assignment(name, version, settings.inbound_port)
        ),
    )


def _inbound_routes(settings: Settings, service: Service, access: Access, memo: Memo) -> Artifact:
    key = ("inbound", settings.digest, access.digest, service.resilience.timeouts, service.opaque_paths)
    return memo.get(
        key,
        lambda: proto.artifact(
            proto.ROUTES, inbound.route_config_name(service.name), inbound.routes(settings, service, access)
        ),
    )


def _outbound_routes(settings: Settings, caller: Name, scope: list[Service], memo: Memo) -> Artifact:
    key = ("outbound", settings.digest, caller, tuple((each.name, each.split, each.resilience) for each in scope))
    return memo.get(
        key,
        lambda: proto.artifact(
            proto.ROUTES, outbound.route_config_name(caller), outbound.routes(settings, caller, scope)
        ),
    )
