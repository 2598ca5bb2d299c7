"""The one home of how protobuf messages become bytes: every other module builds messages and hands them here.

The generated classes of `xds-protos` carry no types, so their values are `Any` to the type checker; what leaves
this module is typed again. Bytes are deterministic: maps are written in the order of their keys.

A message that is put into another one is copied, so builders without arguments keep theirs (`functools.cache`).
Nobody changes a message that came from such a builder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, duration_pb2, struct_pb2, wrappers_pb2

from policyd.compiler.artifact import Artifact

PREFIX = "type.googleapis.com/"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = PREFIX + "envoy.config.route.v3.RouteConfiguration"
CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"


def serialise(message: Any) -> bytes:
    """The message as bytes, equal for equal messages."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def artifact(kind: str, name: str, message: Any) -> Artifact:
    """An xDS resource: its type URL, its name, its bytes."""
    return Artifact(kind, name, serialise(message))


def pack(message: Any) -> any_pb2.Any:
    """The message as `Any`, which xDS uses wherever an extension is configured."""
    return any_pb2.Any(type_url=PREFIX + message.DESCRIPTOR.full_name, value=serialise(message))


def milliseconds(value: int) -> duration_pb2.Duration:
    """A duration. 0 switches most of Envoy's timers off."""
    seconds, rest = divmod(value, 1_000)
    return duration_pb2.Duration(seconds=seconds, nanos=rest * 1_000_000)


def seconds(value: int) -> duration_pb2.Duration:
    """A duration in whole seconds."""
    return duration_pb2.Duration(seconds=value)


def boolean(value: bool) -> wrappers_pb2.BoolValue:
    """A boolean that is set: Envoy tells "false" from "not said"."""
    return wrappers_pb2.BoolValue(value=value)


def uint32(value: int) -> wrappers_pb2.UInt32Value:
    """A number that is set: Envoy tells 0 from "not said"."""
    return wrappers_pb2.UInt32Value(value=value)


def uint64(value: int) -> wrappers_pb2.UInt64Value:
    """A large number that is set."""
    return wrappers_pb2.UInt64Value(value=value)


def struct(fields: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object, for log and reply formats."""
    message = struct_pb2.Struct()
    message.update(fields)
    return message
