"""Two readings make a tick: integer differences per node and cluster, with every reset left out.

Counters go back when a proxy restarts, when a cluster is removed and added, and (in part) when a cluster changes
by CDS. Whatever the cause, a series of which anything went back or went away is left out of that tick whole: half a
difference would be a wrong one. A node that one of the readings lacks is left out too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policyd.telemetry.buckets import subtract
from policyd.telemetry.source import Buckets, ClusterCounters, NodeCounters, Reading


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What happened during one tick: final outcomes, and the latencies that were reported in it."""

    requests: int = 0
    errors: int = 0
    latency: Buckets | None = None
    refused: int = 0
    retries: int = 0
    led_on: int = 0
    """Tries that a fallback had to answer, of clusters that are for these; their outcomes are counted elsewhere."""


@dataclass(frozen=True, slots=True)
class NodeTick:
    """One node's share of a tick. `inbound` counts denials of the access rules as its errors."""

    clusters: Mapping[str, Outcomes] = field(default_factory=dict)
    inbound: Outcomes | None = None
    would: Mapping[str, int] = field(default_factory=dict)
    """As in `NodeCounters`, without what did not move."""
    denied: Mapping[str, int] = field(default_factory=dict)
    """The same."""
    allowed: Mapping[str, int] = field(default_factory=dict)
    """The same."""
    not_in_scope: int = 0
    kept_in: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tick:
    """What the mesh did between two readings, `seconds` apart. Nodes and series that were reset are absent."""

    seconds: float
    nodes: Mapping[str, NodeTick] = field(default_factory=dict)


def difference(before: Reading, after: Reading) -> Tick:
    """The tick between two readings of the same source."""
    return Tick(
        seconds=after.at_s - before.at_s,
        nodes={
            node: _node_difference(before.nodes[node], counters)
            for node, counters in sorted(after.nodes.items())
            if node in before.nodes
        },
    )


def _node_difference(before: NodeCounters, after: NodeCounters) -> NodeTick:
    clusters: dict[str, Outcomes] = {}
    for name, counters in after.clusters.items():
        # A cluster that was not there in a good reading had counted nothing yet.
        outcomes = _outcomes(before.clusters.get(name, ClusterCounters()), counters)
        if outcomes is not None:
            clusters[name] = outcomes
    return NodeTick(
        clusters,
        _inbound(before, after),
        _moved(before.would, after.would),
        _moved(before.denied, after.denied),
        _moved(before.allowed, after.allowed),
        max(0, after.not_in_scope - before.not_in_scope),
        _moved(before.kept_in, after.kept_in),
    )


def _moved(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    moved = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: more for name, more in moved.items() if more > 0}


def _outcomes(before: ClusterCounters, after: ClusterCounters) -> Outcomes | None:
    requests, errors = after.completed - before.completed, after.errors - before.errors
    refused = after.refused - before.refused
    if errors < 0 or refused < 0 or errors + refused > requests:
        return None
    # Nothing is decided by retries: where they were reset, none are known of this tick.
    retries, led_on = max(0, after.retries - before.retries), max(0, after.led_on - before.led_on)
    if before.latency is None:
        return Outcomes(requests, errors, after.latency, refused, retries, led_on)
    latency = subtract(after.latency, before.latency) if after.latency is not None else None
    return None if latency is None else Outcomes(requests, errors, latency, refused, retries, led_on)


def _inbound(before: NodeCounters, after: NodeCounters) -> Outcomes | None:
    requests = after.inbound_requests - before.inbound_requests
    denied = after.inbound_denied - before.inbound_denied
    return Outcomes(requests, denied) if 0 <= denied <= requests else None
