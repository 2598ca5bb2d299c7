"""Failover: an aggregate cluster that leads to a version, and on from there while all of its instances are down.

Every member is a cluster of its own, with its own identity, so whoever answers has shown that he is the member.
Envoy 1.40 loses calls in an outage unless all of this holds: what failed is tried again, `RETRIES` times for each
member that follows, at other instances first and then at the next member; as many further tries may be under way as
there are calls; dead instances are found by their failures, and by checks also where there is no traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2 as aggregate_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2
from envoy.type.v3 import percent_pb2

from policyd.compiler.failover import Ways
from policyd.compiler.naming import cluster_name, failover_name
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.resilience import Retries
from policyd.model.service import Service
from policyd_compilers.envoy import breakers, clusters
from policyd_compilers.envoy.proto import milliseconds, pack

RETRIES = 2
"""Further tries for each member that follows: one at another instance of the same member, one at the next."""
CONDITIONS = ("connect-failure", "refused-stream", "reset")
NEVER_ARRIVED = frozenset({"connect-failure", "refused-stream"})
"""Those of them after which a call may be sent again whatever it does."""
STATUS, GRPC_STATUS = 503, "unavailable"
"""What a sidecar answers whose application is gone."""


def cluster(settings: Settings, service: Service, members: Sequence[str], name: str) -> Any:
    """The aggregate of one version. Each caller has only the members that he may be led to."""
    config = aggregate_pb2.ClusterConfig(clusters=members)
    message = cluster_pb2.Cluster(
        name=name,
        connect_timeout=milliseconds(service.resilience.timeouts.connect_ms),
        lb_policy=cluster_pb2.Cluster.CLUSTER_PROVIDED,
        cluster_type=cluster_pb2.Cluster.CustomClusterType(
            name="envoy.clusters.aggregate", typed_config=pack(config)
        ),
    )
    message.common_lb_config.healthy_panic_threshold.CopyFrom(percent_pb2.Percent(value=0.0))
    message.circuit_breakers.thresholds.append(breakers.of(service, fails_over=True))
    clusters.mark_distrusted(message, settings.distrusted)
    return message


def target(service: Name, version: str, ways: Ways) -> str:
    """The cluster that calls to a version go to."""
    return failover_name(service, version) if (service, version) in ways else cluster_name(service, version)


def retried(retries: Retries, followers: int, *, grpc: bool = False) -> Retries:
    """What is tried again: what the intent says, and with `followers` what shows that a member is down.

    A method says what may be sent twice; all calls of `grpc` have one, so that `GRPC_STATUS` or a reset in the intent
    says it. Else only what never arrived is sent to the next member.
    """
    if not followers:
        return retries
    more = {*CONDITIONS, GRPC_STATUS if grpc else str(STATUS)}
    if grpc and not more & set(retries.on) - NEVER_ARRIVED:
        more = set(NEVER_ARRIVED)
    return replace(
        retries,
        attempts=max(retries.attempts, RETRIES * followers),
        on=tuple(sorted({*retries.on, *more})),
    )


def priority() -> Any:
    """What was tried as often as it has a right to is passed over: the rest of the tries go to the next member."""
    config = previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=RETRIES)
    return route_components_pb2.RetryPolicy.RetryPriority(
        name="envoy.retry_priorities.previous_priorities", typed_config=pack(config)
    )
