"""Closes what was compiled before to whoever has been cut off since: a proxy that goes back must not open again.

Where somebody is let in, the result is what the compiler would have made had they been cut off then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import INBOUND
from policyd_compilers.envoy import inbound, proto, rbac
from policyd_compilers.envoy.render import parse


def narrowed(artifact: Artifact, revoked: Sequence[str]) -> Artifact:
    """`artifact` with these SPIFFE IDs cut off; the very same object where that changes nothing."""
    if revoked and artifact.kind == proto.LISTENER and artifact.name == INBOUND:
        return _listener(artifact, inbound.chain_name(revoked))
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
