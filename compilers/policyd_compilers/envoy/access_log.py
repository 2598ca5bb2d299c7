"""One JSON line on standard output for each request: who called what, which rule decided, what became of it."""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2

from policyd_compilers.envoy.proto import pack, struct
from policyd_compilers.envoy.rbac import FILTER, SHADOW_PREFIX, STAT_PREFIX

NAMESPACE = "policyd"
"""The listener's metadata that the log reads: `node`, the id of the proxy. The rest of a listener is shared."""
_COMMON: dict[str, object] = {
    "node": f"%METADATA(LISTENER:{NAMESPACE}:node)%",
    "start": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "route": "%ROUTE_NAME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "trace_id": "%TRACE_ID%",
    "duration_ms": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
}
_DECIDED: dict[str, object] = {
    "rule": f"%DYNAMIC_METADATA({FILTER}:{STAT_PREFIX}enforced_effective_policy_id)%",
    "would": f"%DYNAMIC_METADATA({FILTER}:{SHADOW_PREFIX}shadow_effective_policy_id)%",
}
_INBOUND: dict[str, object] = {
    "caller": "%DOWNSTREAM_PEER_URI_SAN%",
    "ip": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    **_DECIDED,
}
_OUTBOUND: dict[str, object] = {
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}


@cache
def inbound() -> Any:
    """The log of calls received: `rule` is the policy that decided, `would` how the would-be set differs."""
    return _stdout({"listener": "inbound", **_COMMON, **_INBOUND})


@cache
def outbound(*, judged: bool = False) -> Any:
    """The log of calls made: `route` says why a host was refused, `upstream` who answered, `flags` what failed.

    `judged`: calls leave the mesh here, by rules that have names.
    """
    return _stdout({"listener": "outbound", **_COMMON, **_OUTBOUND, **(_DECIDED if judged else {})})


@cache
def edge() -> Any:
    """The log of what came in from outside: `client` asks behind trusted proxies, `sni` names whom he asked for."""
    outside = {"client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "sni": "%REQUESTED_SERVER_NAME%"}
    return _stdout({"listener": "edge", **_COMMON, **outside, **_OUTBOUND})


def told(node_id: str) -> Any:
    """The metadata of a listener: whose lines they are."""
    return base_pb2.Metadata(filter_metadata={NAMESPACE: struct({"node": node_id})})


def _stdout(fields: dict[str, object]) -> Any:
    log = stream_pb2.StdoutAccessLog(
        log_format=substitution_format_string_pb2.SubstitutionFormatString(json_format=struct(fields))
    )
    return accesslog_pb2.AccessLog(name="envoy.access_loggers.stdout", typed_config=pack(log))
