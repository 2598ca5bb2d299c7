"""Between the protocol's values and bytes. Each resource is serialised once and its bytes shared by all proxies.

A serialised protobuf message is the concatenation of its fields, so a response is a small header followed by the
bytes of every resource field, and nothing is copied into message objects per proxy.
Source: Protocol Buffers, "Encoding", "Message structure".
"""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from policyd.compiler.artifact import Artifact
from policyd.compiler.memo import Memo
from policyd.delivery.xds.subscriptions import Push, Request

DeltaDiscoveryRequest = Any
"""`envoy.service.discovery.v3.DeltaDiscoveryRequest`; the generated code is untyped."""

parse_request = discovery_pb2.DeltaDiscoveryRequest.FromString


def read_request(message: DeltaDiscoveryRequest) -> Request:
    """The protocol value of a request. A NACK is a request with `error_detail`, whatever that says."""
    error = None
    if message.HasField("error_detail"):
        error = message.error_detail.message.strip() or f"status code {message.error_detail.code}"
    return Request(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=error,
    )


def read_proxy_version(message: DeltaDiscoveryRequest) -> str:
    """The program that sent a first request, such as `envoy 1.40.0`; empty where it does not say."""
    node = message.node
    built = node.user_agent_build_version.version
    if node.HasField("user_agent_build_version"):
        return f"{node.user_agent_name} {built.major_number}.{built.minor_number}.{built.patch}".strip()
    return f"{node.user_agent_name} {node.user_agent_version}".strip()


def encode_push(nonce: str, push: Push, memo: Memo) -> bytes:
    """The bytes of a `DeltaDiscoveryResponse`; `memo` keeps those of each resource by content."""
    header: bytes = discovery_pb2.DeltaDiscoveryResponse(
        type_url=push.type_url, nonce=nonce, removed_resources=push.removed
    ).SerializeToString(deterministic=True)
    return b"".join([header, *(_encode_resource(artifact, memo) for artifact in push.resources)])


def _encode_resource(artifact: Artifact, memo: Memo) -> bytes:
    def build() -> bytes:
        response = discovery_pb2.DeltaDiscoveryResponse()
        resource = response.resources.add(name=artifact.name, version=artifact.version)
        resource.resource.type_url = artifact.kind
        resource.resource.value = artifact.body
        encoded: bytes = response.SerializeToString(deterministic=True)
        return encoded

    return memo.get(("wire", artifact.kind, artifact.name, artifact.version), build)
