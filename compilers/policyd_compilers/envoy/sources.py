"""Where a sidecar gets what it does not hold: everything comes over its one ADS stream."""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.core.v3 import config_source_pb2

from policyd_compilers.envoy.proto import seconds

INITIAL_FETCH_TIMEOUT_S = 2
"""How long a changed resource may wait for what it refers to. Envoy's default of 15 s would hold up the
acknowledgement of a whole cluster update; the server always answers at once, with an empty assignment if need be."""


@cache
def ads() -> Any:
    """The config source `ads`, version 3."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.V3,
        initial_fetch_timeout=seconds(INITIAL_FETCH_TIMEOUT_S),
    )
