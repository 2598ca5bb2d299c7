"""Outlier detection: a caller's sidecar leaves out the instances that keep failing it.

Envoy looks for five kinds of outliers at once, most of them by default, some of them counting and not enforcing. So
every kind is switched on or off here by name: what the intent does not ask for takes no instance away.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import outlier_detection_pb2

from policyd.model.resilience import OutlierDetection
from policyd.model.service import WHOLE, Service
from policyd_compilers.envoy.proto import boolean, milliseconds, uint32

ALWAYS, NEVER = uint32(100), uint32(0)
FOR_FAILOVER = OutlierDetection(
    consecutive_gateway_errors=3, interval_ms=1_000, base_ms=2_000, max_ms=30_000, max_ejected=WHOLE
)
"""Where calls go on elsewhere and the intent names none. All instances may be left out: others answer instead."""


def asked(service: Service, *, fails_over: bool) -> OutlierDetection | None:
    """What decides about the instances of a service; `None` where nobody is left out."""
    if service.resilience.outlier_detection is None and fails_over:
        return FOR_FAILOVER
    return service.resilience.outlier_detection


def detection(asked: OutlierDetection) -> Any:
    """The message of a cluster. Envoy counts in whole per cents: a share is rounded down, never more than allowed."""
    message = outlier_detection_pb2.OutlierDetection(
        interval=milliseconds(asked.interval_ms),
        base_ejection_time=milliseconds(asked.base_ms),
        max_ejection_time=milliseconds(asked.max_ms),
        # Callers that saw the same fault would all come back at the same instant.
        max_ejection_time_jitter=milliseconds(asked.base_ms // 10),
        max_ejection_percent=uint32(asked.max_ejected * 100 // WHOLE),
        always_eject_one_host=boolean(False),
        # A reset connection is an error as an answer of 503 is.
        split_external_local_origin_errors=False,
        # An instance that passes its health check and fails its requests would be back at the next check.
        successful_active_health_check_uneject_host=boolean(False),
        enforcing_consecutive_5xx=ALWAYS if asked.consecutive_errors else NEVER,
        enforcing_consecutive_gateway_failure=ALWAYS if asked.consecutive_gateway_errors else NEVER,
        enforcing_consecutive_local_origin_failure=NEVER,
        enforcing_success_rate=ALWAYS if asked.success_rate else NEVER,
        enforcing_local_origin_success_rate=NEVER,
        enforcing_failure_percentage=NEVER,
        enforcing_failure_percentage_local_origin=NEVER,
    )
    if asked.consecutive_errors:
        message.consecutive_5xx.CopyFrom(uint32(asked.consecutive_errors))
    if asked.consecutive_gateway_errors:
        message.consecutive_gateway_failure.CopyFrom(uint32(asked.consecutive_gateway_errors))
    if asked.success_rate is not None:
        message.success_rate_minimum_hosts.CopyFrom(uint32(asked.success_rate.instances))
        message.success_rate_request_volume.CopyFrom(uint32(asked.success_rate.requests))
        message.success_rate_stdev_factor.CopyFrom(uint32(asked.success_rate.deviations))
    return message
