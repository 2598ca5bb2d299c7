"""What a source of metrics is: cumulative counters per node and cluster, read all at once.

A node that could not be read is *absent* from a reading, never zero: no data is neither good nor bad news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Buckets:
    """A latency histogram: `counts[i]` answers took at most `bounds_ms[i]`; the last bound is infinity.

    Counts are cumulative over the buckets and over time, as Envoy and Prometheus keep them.
    """

    bounds_ms: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All answers that were timed."""
        return self.counts[-1] if self.counts else 0


@dataclass(frozen=True, slots=True)
class ClusterCounters:
    """What one node counted about one upstream cluster since the counters began.

    `completed` and `errors` are final outcomes at the caller: an attempt that was tried again is in neither.
    An error is an answer of 500 or above, made by the upstream or by the proxy in its stead; of gRPC, one of the
    statuses that mean the same (`policyd.telemetry.grpc`).
    """

    completed: int = 0
    errors: int = 0
    latency: Buckets | None = None
    refused: int = 0
    """Answers of 401 and 403, whether the callee's sidecar or its application gave them."""
    retries: int = 0
    """Further attempts that were made."""
    led_on: int = 0
    """Tries that went on here since the version that they were for was down; only of clusters that are for these."""
    open_circuits: int = 0
    """How many bounds of the circuit breaker are reached now; a state, not a sum."""
    left_out: int = 0
    """How many instances are left out by outlier detection now; a state, not a sum."""
    active: int = 0
    """How many requests, or connections to a `tcp` service, are under way now; a state, not a sum."""


@dataclass(frozen=True, slots=True)
class NodeCounters:
    """What one node counted: its upstream clusters by name, and its inbound listener."""

    clusters: Mapping[str, ClusterCounters] = field(default_factory=dict)
    inbound_requests: int = 0
    inbound_denied: int = 0
    """Requests that the access rules refused (not those refused for being malformed)."""
    would: Mapping[str, int] = field(default_factory=dict)
    """Requests of which observed rules would have decided otherwise: by `would-allow RULE` and `would-deny RULE`."""
    denied: Mapping[str, int] = field(default_factory=dict)
    """Requests that the access rules refused, by the reason that the caller was told."""
    allowed: Mapping[str, int] = field(default_factory=dict)
    """Requests that the access rules let in, by the rule's name in logs (`namespace/rule#hash`); or let out of the
    mesh, where the node is the caller's."""
    not_in_scope: int = 0
    """Requests of the node's own application for hosts that no rule lets it call; which hosts is only logged."""
    kept_in: Mapping[str, int] = field(default_factory=dict)
    """Requests of the node's own application that rules did not let out of the mesh, by the reason; to which of the
    hosts outside that it may call is only logged."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the mesh. `at_s` is the monotonic instant when the reading was complete."""

    at_s: float
    nodes: Mapping[str, NodeCounters] = field(default_factory=dict)
    """By node id; a node that is not here could not be read."""


class MetricSource(Protocol):
    """Where counters come from."""

    async def read(self, nodes: Sequence[str]) -> Reading:
        """The counters of those of `nodes` (node ids) that answered in time. Does not raise for one node."""
        ...
