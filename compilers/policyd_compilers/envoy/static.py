"""A node's resources as one static bootstrap, with no control plane: for the validator and for tests with traffic.

Nothing is compiled again: the very same resources are taken apart only where they say "ask the control plane".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import SVID, TRUST_BUNDLE
from policyd.compiler.protocol import ListenAddress, Secrets
from policyd.model.node import Node
from policyd_compilers.envoy.bootstrap import skeleton
from policyd_compilers.envoy.proto import CLUSTER, ENDPOINTS, LISTENER, ROUTES, pack
from policyd_compilers.envoy.render import parse


def bootstrap(artifacts: Iterable[Artifact], node: Node, admin: ListenAddress, secrets: Secrets) -> Any:
    """The bootstrap message. Endpoints that no cluster asks for and routes of no listener are left out."""
    found: dict[str, list[Any]] = {LISTENER: [], ROUTES: [], CLUSTER: [], ENDPOINTS: []}
    for artifact in artifacts:
        found[artifact.kind].append(parse(artifact))
    routes = {each.name: each for each in found[ROUTES]}
    assignments = {each.cluster_name: each for each in found[ENDPOINTS]}
    message = skeleton(node, admin)
    resources = message.static_resources
    resources.secrets.extend(_secrets(secrets))
    resources.listeners.extend(_listener(each, routes) for each in found[LISTENER])
    resources.secrets.extend(_shown(name, secrets) for name in sorted(_certificates(resources.listeners)))
    resources.clusters.extend(_cluster(each, assignments) for each in found[CLUSTER])
    return message


def _listener(listener: Any, routes: dict[str, Any]) -> Any:
    for chain in listener.filter_chains:
        if not chain.filters[0].typed_config.Is(http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR):
            continue
        manager = _opened(chain.filters[0].typed_config, http_connection_manager_pb2.HttpConnectionManager)
        manager.route_config.CopyFrom(routes[manager.rds.route_config_name])
        manager.route_config.validate_clusters.value = True
        chain.filters[0].typed_config.CopyFrom(pack(manager))
        if chain.HasField("transport_socket"):
            _inline_secrets(chain.transport_socket, tls_pb2.DownstreamTlsContext)
    return listener


def _cluster(cluster: Any, assignments: dict[str, Any]) -> Any:
    if cluster.HasField("eds_cluster_config"):
        cluster.load_assignment.CopyFrom(assignments[cluster.eds_cluster_config.service_name])
        cluster.ClearField("eds_cluster_config")
        cluster.type = cluster.STATIC
    if cluster.HasField("transport_socket"):
        _inline_secrets(cluster.transport_socket, tls_pb2.UpstreamTlsContext)
    return cluster


def _inline_secrets(socket: Any, kind: Any) -> None:
    """Point a TLS context at the static secrets: the same names, no source."""
    context = _opened(socket.typed_config, kind)
    common = context.common_tls_context
    references = [*common.tls_certificate_sds_secret_configs]
    if common.HasField("validation_context_sds_secret_config"):
        references.append(common.validation_context_sds_secret_config)
    if common.HasField("combined_validation_context"):
        references.append(common.combined_validation_context.validation_context_sds_secret_config)
    for reference in references:
        reference.ClearField("sds_config")
    socket.typed_config.CopyFrom(pack(context))


def _opened(packed: Any, kind: Any) -> Any:
    message = kind()
    message.ParseFromString(packed.value)
    return message


def _certificates(listeners: Iterable[Any]) -> set[str]:
    """What gateways show to their clients, by name; here it is the proxy's own."""
    contexts = (
        _opened(chain.transport_socket.typed_config, tls_pb2.DownstreamTlsContext)
        for listener in listeners
        for chain in listener.filter_chains
        if chain.HasField("transport_socket")
    )
    shown = (
        each.name for context in contexts for each in context.common_tls_context.tls_certificate_sds_secret_configs
    )
    return {*shown} - {SVID}


def _secrets(secrets: Secrets) -> list[Any]:
    return [
        _shown(SVID, secrets),
        secret_pb2.Secret(
            name=TRUST_BUNDLE,
            validation_context=common_pb2.CertificateValidationContext(trusted_ca=_inline(secrets.roots)),
        ),
    ]


def _shown(name: str, secrets: Secrets) -> Any:
    return secret_pb2.Secret(
        name=name,
        tls_certificate=common_pb2.TlsCertificate(
            certificate_chain=_inline(secrets.certificate_chain), private_key=_inline(secrets.private_key)
        ),
    )


def _inline(pem: bytes) -> Any:
    return base_pb2.DataSource(inline_bytes=pem)
