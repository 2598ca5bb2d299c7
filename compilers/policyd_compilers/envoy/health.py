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
from envoy.type.v3 import percent_pb2

from policyd.compiler.naming import APP, HEALTH_CHECK_HEADER
from policyd.model.service import HealthCheck
from policyd_compilers.envoy.proto import boolean, milliseconds, uint32

RECOVERY_MS = 1_000
"""How often at least an unhealthy instance is asked again, whatever the interval: it is needed most then."""


def active_check(check: HealthCheck, *, host: str, mark: bool) -> Any:
    """The declared check, sent as `host`; with `mark` it is meant for a sidecar and goes over its mTLS."""
    http = health_check_pb2.HealthCheck.HttpHealthCheck(host=host, path=check.path)
    if mark:
        header = base_pb2.HeaderValue(key=HEALTH_CHECK_HEADER, value="1")
        http.request_headers_to_add.append(base_pb2.HeaderValueOption(header=header))
    message = health_check_pb2.HealthCheck(
        timeout=milliseconds(check.timeout_ms),
        interval=milliseconds(check.interval_ms),
        # Envoy's default of 60 s for a cluster without traffic would find a dead instance too late.
        no_traffic_interval=milliseconds(check.interval_ms),
        unhealthy_interval=milliseconds(min(check.interval_ms, RECOVERY_MS)),
        unhealthy_threshold=uint32(check.unhealthy_threshold),
        healthy_threshold=uint32(check.healthy_threshold),
        reuse_connection=boolean(True),
        http_health_check=http,
    )
    if mark:
        # The check speaks HTTP/1.1; the connections of requests would let ALPN choose HTTP/2.
        message.tls_options.alpn_protocols.append("http/1.1")
    return message


def answer(check: HealthCheck) -> Any:
    """The filter that answers callers' checks: 200 while the application passes its own, 503 otherwise."""
    return filter_pb2.HealthCheck(
        pass_through_mode=boolean(False),
        headers=[
            _header(":path", check.path),
            _header(HEALTH_CHECK_HEADER, "1"),
        ],
        cluster_min_healthy_percentages={APP: percent_pb2.Percent(value=100.0)},
    )


def _header(name: str, value: str) -> Any:
    return route_components_pb2.HeaderMatcher(name=name, string_match=string_pb2.StringMatcher(exact=value))
