"""Health: callers ask the sidecar, the sidecar asks its application.

Every caller's sidecar checks every instance, but not through the access rules (a caller may well be denied
`GET /healthz`) and not at the application (a hundred callers would mean a hundred checks). So a check carries
a header of its own, and the callee's sidecar answers it from its own check of the application.
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2 as filter_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import http_pb2, percent_pb2

from policyd.compiler.naming import APP, HEALTH_CHECK_HEADER, health_path
from policyd.model.service import HealthCheck, Probe
from policyd_compilers.envoy.proto import boolean, milliseconds, uint32

RECOVERY_MS = 1_000
"""How often at least an unhealthy instance is asked again, whatever the interval: it is needed most then."""


def of_instance(check: HealthCheck, host: str, *, waiting: bool = False) -> Any:
    """What a caller asks the sidecar of an instance, over mTLS: by HTTP, whatever that one asks its application.

    `waiting`: calls come when something else is down, so that what has no traffic is looked at as often.
    """
    header = base_pb2.HeaderValue(key=HEALTH_CHECK_HEADER, value="1")
    message = _check(check)
    if waiting:
        message.no_traffic_interval.CopyFrom(milliseconds(min(check.interval_ms, RECOVERY_MS)))
    message.http_health_check.host, message.http_health_check.path = host, health_path(check)
    message.http_health_check.request_headers_to_add.append(base_pb2.HeaderValueOption(header=header))
    # The check speaks HTTP/1.1; the connections of requests would let ALPN choose HTTP/2.
    message.tls_options.alpn_protocols.append("http/1.1")
    return message


def of_application(check: HealthCheck, host: str, *, multiplexed: bool) -> Any:
    """What a sidecar asks its own application, on loopback; `multiplexed` is one that speaks HTTP/2 alone."""
    message = _check(check)
    if check.probe is Probe.GRPC:
        message.grpc_health_check.service_name = check.grpc_service
        message.grpc_health_check.authority = host
    elif check.probe is Probe.TCP:
        # Nothing sent and nothing expected: a connection that is accepted is enough, each time a new one.
        message.tcp_health_check.SetInParent()
        message.reuse_connection.value = False
    else:
        message.http_health_check.host, message.http_health_check.path = host, check.path
        if multiplexed:
            message.http_health_check.codec_client_type = http_pb2.HTTP2
    return message


def _check(check: HealthCheck) -> Any:
    return health_check_pb2.HealthCheck(
        timeout=milliseconds(check.timeout_ms),
        interval=milliseconds(check.interval_ms),
        # Envoy's default of 60 s for a cluster without traffic would find a dead instance too late.
        no_traffic_interval=milliseconds(check.interval_ms),
        unhealthy_interval=milliseconds(min(check.interval_ms, RECOVERY_MS)),
        unhealthy_threshold=uint32(check.unhealthy_threshold),
        healthy_threshold=uint32(check.healthy_threshold),
        reuse_connection=boolean(True),
    )


def answer(check: HealthCheck) -> Any:
    """The filter that answers callers' checks: 200 while the application passes its own, 503 otherwise."""
    return filter_pb2.HealthCheck(
        pass_through_mode=boolean(False),
        headers=[
            _header(":path", health_path(check)),
            _header(HEALTH_CHECK_HEADER, "1"),
        ],
        cluster_min_healthy_percentages={APP: percent_pb2.Percent(value=100.0)},
    )


def _header(name: str, value: str) -> Any:
    return route_components_pb2.HeaderMatcher(name=name, string_match=string_pb2.StringMatcher(exact=value))
