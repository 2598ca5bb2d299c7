"""How gRPC calls ended, counted where calls are made: the status of HTTP is 200 whatever became of them."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2

from policyd_compilers.envoy import manager
from policyd_compilers.envoy.proto import boolean

FILTER = "envoy.filters.http.grpc_stats"


def add_filter(message: Any) -> None:
    """Count by status, under the cluster that a call is for; not by method: callers may make up any number."""
    config = config_pb2.FilterConfig(stats_for_all_methods=boolean(False))
    manager.add_filter(message, FILTER, config)
