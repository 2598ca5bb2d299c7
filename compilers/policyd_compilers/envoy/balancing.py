"""Load balancing: how a caller's sidecar chooses an instance, and what of a request decides.

The policy is the cluster's, what is hashed is the route's, zones are the assignment's: so a zone that changes is no
new cluster, whose counters would begin again.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.v3 import percent_pb2

from policyd.model.balancing import BY_KEY, LoadBalancing, Policy, SlowStart, ZonePreference
from policyd.model.service import WHOLE, Service, Version
from policyd_compilers.envoy.proto import boolean, milliseconds, uint32, uint64

CHOICES = 2
LEAST_WEIGHT = 10
"""Per cent of its share that an instance begins with: none at all would never warm it up."""
AGGRESSION = "policyd.slow-start.aggression"
"""Envoy wants a runtime key beside the number; nobody sets it."""
_Cluster = cluster_pb2.Cluster
_POLICIES = {
    Policy.LEAST_REQUEST: _Cluster.LEAST_REQUEST,
    Policy.ROUND_ROBIN: _Cluster.ROUND_ROBIN,
    Policy.RANDOM: _Cluster.RANDOM,
    Policy.RING_HASH: _Cluster.RING_HASH,
    Policy.MAGLEV: _Cluster.MAGLEV,
}


def balance(message: Any, asked: LoadBalancing, *, panic: int) -> None:
    """Set the policy of a cluster; `panic` is the share (basis points) below which the unhealthy are called, too."""
    message.common_lb_config.healthy_panic_threshold.CopyFrom(percent_pb2.Percent(value=panic * 100 / WHOLE))
    message.lb_policy = _POLICIES[asked.policy]
    if asked.policy is Policy.LEAST_REQUEST:
        message.least_request_lb_config.choice_count.CopyFrom(uint32(CHOICES))
        _warm_up(message.least_request_lb_config, asked.slow_start)
    elif asked.policy is Policy.ROUND_ROBIN:
        _warm_up(message.round_robin_lb_config, asked.slow_start)
    elif asked.policy is Policy.RING_HASH:
        least, most = asked.ring
        message.ring_hash_lb_config.minimum_ring_size.CopyFrom(uint64(least))
        message.ring_hash_lb_config.maximum_ring_size.CopyFrom(uint64(most))
        message.ring_hash_lb_config.hash_function = _Cluster.RingHashLbConfig.XX_HASH
    elif asked.policy is Policy.MAGLEV:
        message.maglev_lb_config.table_size.CopyFrom(uint64(asked.table))


def _warm_up(config: Any, slow: SlowStart | None) -> None:
    if slow is None:
        return
    config.slow_start_config.CopyFrom(
        _Cluster.SlowStartConfig(
            slow_start_window=milliseconds(slow.window_ms),
            aggression=base_pb2.RuntimeDouble(default_value=slow.aggression / 1_000, runtime_key=AGGRESSION),
            min_weight_percent=percent_pb2.Percent(value=LEAST_WEIGHT),
        )
    )


def hashed(action: Any, asked: LoadBalancing) -> None:
    """Say in a route what of a request decides. A split goes by it too, else each request would draw anew."""
    if asked.policy not in BY_KEY or asked.key is None:
        return
    policy = route_components_pb2.RouteAction.HashPolicy()
    if asked.key.header:
        policy.header.header_name = asked.key.header
    else:
        policy.cookie.name = asked.key.cookie
    action.hash_policy.append(policy)
    if action.HasField("weighted_clusters"):
        action.weighted_clusters.use_hash_policy.CopyFrom(boolean(True))


def zone_of(service: Service, caller: str) -> str:
    """The zone that a caller in `caller` prefers for this service; empty for none."""
    return caller if service.resilience.load_balancing.zone is not None else ""


def prefer(assignment: Any, version: Version, zone: str, asked: ZonePreference | None) -> None:
    """Put the other zones second, where the caller's own has instances enough.

    Envoy calls the second group for as much as the first one lacks: its healthy share times the factor, below 100 %.
    """
    own = sum(endpoint.zone == zone for endpoint in version.endpoints)
    if asked is None or not zone or own < asked.min_instances:
        return
    for group in assignment.endpoints:
        group.priority = 0 if group.locality.zone == zone else 1
    factor = -(-WHOLE * 100 // asked.min_healthy)
    assignment.policy.CopyFrom(endpoint_pb2.ClusterLoadAssignment.Policy(overprovisioning_factor=uint32(factor)))
