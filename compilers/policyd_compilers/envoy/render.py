"""Artefacts as a person reads them: YAML with the names of the fields, `Any` opened, keys in order."""

from __future__ import annotations

import importlib
import json
from typing import Any

import yaml
from google.protobuf import json_format

from policyd.compiler.artifact import Artifact
from policyd_compilers.envoy.proto import CLUSTER, ENDPOINTS, LISTENER, ROUTES

_MODULES = {
    CLUSTER: ("envoy.config.cluster.v3.cluster_pb2", "Cluster"),
    ENDPOINTS: ("envoy.config.endpoint.v3.endpoint_pb2", "ClusterLoadAssignment"),
    LISTENER: ("envoy.config.listener.v3.listener_pb2", "Listener"),
    ROUTES: ("envoy.config.route.v3.route_pb2", "RouteConfiguration"),
}


def parse(artifact: Artifact) -> Any:
    """The message in an xDS artefact. Raises `ValueError` for a kind that this compiler does not write."""
    if artifact.kind not in _MODULES:
        raise ValueError(f"not an artefact of the envoy compiler: {artifact.kind}")
    module, name = _MODULES[artifact.kind]
    return getattr(importlib.import_module(module), name).FromString(artifact.body)


def render(artifact: Artifact) -> str:
    """The artefact as stable YAML, one scalar a line, for diffs and reviews."""
    return to_yaml(parse(artifact))


def to_yaml(message: Any) -> str:
    """Any message as stable YAML."""
    plain = json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None))
    text: str = yaml.dump(
        plain, Dumper=yaml.CSafeDumper, sort_keys=True, default_flow_style=False, width=1_000, allow_unicode=True
    )
    return text
