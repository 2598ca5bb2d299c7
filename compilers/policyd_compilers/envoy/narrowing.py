"""Closes what was compiled before to whoever has been cut off since: a proxy that goes back must not open again.

Where somebody is let in, the result is what the compiler would have made had they been cut off then. Roots that are
distrusted since are said where they end connections; the trust bundle itself is no matter of a compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import APP, INBOUND, OUTBOUND
from policyd.model.names import Name
from policyd_compilers.envoy import clusters, inbound, proto, rbac
from policyd_compilers.envoy.render import parse


def narrowed(
    artifact: Artifact, revoked: Sequence[str], distrusted: Sequence[str] = (), barred: Sequence[Name] = ()
) -> Artifact:
    """`artifact` with these SPIFFE IDs cut off, and roots distrusted; the very same object where nothing changes.

    `barred` are the external hosts that the node itself is cut off from: it alone judges calls to them.
    """
    if barred and artifact.kind == proto.ROUTES and artifact.name.startswith(f"{OUTBOUND}/"):
        return _barred(artifact, {str(name) for name in barred})
    if (revoked or distrusted) and artifact.kind == proto.LISTENER and artifact.name == INBOUND:
        return _listener(artifact, inbound.chain_name(revoked, distrusted))
    if distrusted and artifact.kind == proto.CLUSTER and artifact.name not in (APP, OUTBOUND):
        return _cluster(artifact, distrusted)
    if revoked and artifact.kind == proto.ROUTES and artifact.name.startswith(f"{INBOUND}/"):
        return _routes(artifact, revoked)
    return artifact


def _listener(artifact: Artifact, chain_name: str) -> Artifact:
    message = parse(artifact)
    if all(chain.name == chain_name for chain in message.filter_chains):
        return artifact
    for chain in message.filter_chains:
        chain.name = chain_name
    return proto.artifact(artifact.kind, artifact.name, message)


def _cluster(artifact: Artifact, distrusted: Sequence[str]) -> Artifact:
    message = parse(artifact)
    clusters.mark_distrusted(message, distrusted)
    marked = proto.artifact(artifact.kind, artifact.name, message)
    return artifact if marked.body == artifact.body else marked


def _barred(artifact: Artifact, barred: set[str]) -> Artifact:
    message: Any = parse(artifact)
    for host in message.virtual_hosts:
        if host.name in barred and rbac.FILTER in host.typed_per_filter_config:
            host.typed_per_filter_config[rbac.FILTER].CopyFrom(proto.pack(rbac.nobody()))
    closed = proto.artifact(artifact.kind, artifact.name, message)
    return artifact if closed.body == artifact.body else closed


def _routes(artifact: Artifact, revoked: Sequence[str]) -> Artifact:
    message: Any = parse(artifact)
    changed = False
    for host in message.virtual_hosts:
        override = rbac_pb2.RBACPerRoute()
        override.ParseFromString(host.typed_per_filter_config[rbac.FILTER].value)
        if rbac.cut_off(override, revoked):
            host.typed_per_filter_config[rbac.FILTER].CopyFrom(proto.pack(override))
            changed = True
    return proto.artifact(artifact.kind, artifact.name, message) if changed else artifact
