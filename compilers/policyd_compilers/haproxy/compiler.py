"""The compiler: one node's share of the mesh as a folder of files, from parts that are compiled once.

    node = name + process + inbound (its address, its service's rules) + outbound (its address, its caller's routes)
         + one file for each destination, shared byte for byte by all callers

HAProxy reads the files of a folder in order of name, so a change of one service writes only what it touches.
"""

from __future__ import annotations

from operator import attrgetter

from policyd.compiler import losses as shared_losses
from policyd.compiler.artifact import FILE, Artifact, Compiled, Loss
from policyd.compiler.memo import Memo
from policyd.compiler.naming import outbound_address
from policyd.compiler.protocol import Capabilities, Secrets, Validation
from policyd.compiler.sources import Index, Sources
from policyd.model.mesh import Mesh, Settings
from policyd.model.node import Node
from policyd.model.service import Endpoint, Protocol, Service
from policyd_compilers.haproxy import access, destinations, inbound, losses, outbound, text
from policyd_compilers.haproxy import process as processes
from policyd_compilers.haproxy import validation as validating
from policyd_compilers.haproxy.codes import CODES
from policyd_compilers.haproxy.names import INBOUND_FILE, OUTBOUND_FILE

NAME = "haproxy"
CAPABILITIES = Capabilities(
    delivery="files", live_access_rules=False, weighted_versions=True, header_match=True, conditions=access.CONDITIONS
)
_SAYS = shared_losses.Says(NAME, CAPABILITIES.conditions, losses.of_service, losses.of_settings)


class HAProxyCompiler:
    """Compiles sidecars for HAProxy by files. It has no state: what may be remembered is in the caller's memo."""

    name = NAME
    id = "haproxy-4"
    capabilities = CAPABILITIES
    codes = CODES

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        """The files of `node`. Raises `KeyError` for an unknown service."""
        sources = Index.of(mesh)[node.service]
        return memo.get(
            (NAME, sources.key, node.version, node.endpoint), lambda: _node(sources, node, memo), counted=False
        )

    def losses(self, mesh: Mesh, memo: Memo) -> tuple[Loss, ...]:
        """What `compile` would return as lost for all nodes of the mesh together."""
        return shared_losses.of_mesh(mesh, _SAYS, memo)

    def render(self, artifact: Artifact) -> str:
        """The file as it is."""
        if artifact.kind != FILE:
            raise ValueError(f"not an artefact of the haproxy compiler: {artifact.kind}")
        return artifact.body.decode()

    def validation(self, compiled: Compiled, node: Node, secrets: Secrets) -> Validation:
        """The folder itself, for `haproxy -c`."""
        return validating.validation(compiled, secrets)


def _node(sources: Sources, node: Node, memo: Memo) -> Compiled:
    settings, service, endpoint = sources.settings, sources.service, node.endpoint
    named = memo.get((NAME, "node", node.id), lambda: processes.node(node))
    artifacts = [named, processes.process(), _outbound(sources, endpoint, memo)]
    if service.protocol is not Protocol.TCP and service.gateway is None:
        artifacts.append(_inbound(sources, endpoint, memo))
    artifacts += [_destination(settings, each, memo) for each in sources.requested]
    lost = shared_losses.of_sidecars(sources, _SAYS)
    return Compiled(tuple(sorted(artifacts, key=attrgetter("kind", "name"))), lost)


def _inbound(sources: Sources, endpoint: Endpoint, memo: Memo) -> Artifact:
    service = sources.service
    key = (NAME, "inbound", sources.settings.digest, sources.access.digest, _own(service))

    def build() -> Artifact:
        shared = memo.get(key, lambda: inbound.rules(sources), counted=False)
        return text.artifact(INBOUND_FILE, inbound.sections(sources, endpoint, shared))

    return memo.get((key, endpoint, sources.inbound_ports), build)


def _own(service: Service) -> tuple[object, ...]:
    """What of a service its own sidecars depend on."""
    return (
        service.name, service.protocol, service.longest, service.health_check, service.opaque_paths,
        service.port, service.upgrades,
    )  # fmt: skip


def _outbound(sources: Sources, endpoint: Endpoint, memo: Memo) -> Artifact:
    settings, address = sources.settings, outbound_address(endpoint.address)
    destinations_key = tuple(
        (each.name, each.split, each.upgrades, each.resilience.load_balancing, each.route)
        for each in sources.requested
    )
    key = (NAME, "outbound", settings.digest, sources.service.name, destinations_key)

    def build() -> Artifact:
        shared = memo.get(key, lambda: outbound.rules(sources), counted=False)
        return text.artifact(OUTBOUND_FILE, [outbound.frontend(settings, address, shared)])

    return memo.get((key, address), build)


def _destination(settings: Settings, service: Service, memo: Memo) -> Artifact:
    key = (
        NAME, "destination", settings.digest, service.name, service.protocol, service.versions, service.resilience,
        service.health_check, service.upgrades,
    )  # fmt: skip
    return memo.get(key, lambda: destinations.destination(settings, service))
