"""What a caller is told when the sidecar itself answers: JSON with the reason, and the right status."""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import substitution_format_string_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from policyd.model.names import Name
from policyd_compilers.envoy.canonical import NOT_CANONICAL
from policyd_compilers.envoy.proto import pack, struct, uint32
from policyd_compilers.envoy.rbac import NO_RULE_FOR_CALLER, NO_RULE_FOR_REQUEST

_DENIED = "rbac_access_denied_matched_policy[{}]"
_MESSAGES = {
    NO_RULE_FOR_CALLER: "no access rule names this caller",
    NO_RULE_FOR_REQUEST: "the access rules for this caller do not allow this method and path",
}


@cache
def inbound() -> Any:
    """The mapping of the inbound listener: `not-canonical` becomes 400, a denial stays 403 and says why."""
    mappers = [_denial(NOT_CANONICAL, "the request is not canonical: see method, host and path", status=400)]
    mappers += [_denial(reason, message) for reason, message in _MESSAGES.items()]
    return http_connection_manager_pb2.LocalReplyConfig(mappers=mappers, body_format=_body("%RESPONSE_CODE_DETAILS%"))


def outbound(caller: Name) -> Any:
    """The mapping of the outbound listener: a refused host by the name of its route, else what Envoy found."""
    refused = _body("%ROUTE_NAME%", message="no access rule lets this service call this host", caller=str(caller))
    return http_connection_manager_pb2.LocalReplyConfig(
        mappers=[_mapper("direct_response", refused)], body_format=_body("%RESPONSE_CODE_DETAILS%")
    )


def _denial(policy: str, message: str, status: int = 0) -> Any:
    body = _body(policy, message=message, caller="%DOWNSTREAM_PEER_URI_SAN%")
    return _mapper(_DENIED.format(policy), body, status)


def _mapper(details: str, body: Any, status: int = 0) -> Any:
    """What replies with these details become. A filter on dynamic metadata would not match on a denial."""
    expression = f"response.code_details == '{details}'"
    return http_connection_manager_pb2.ResponseMapper(
        filter=accesslog_pb2.AccessLogFilter(
            extension_filter=accesslog_pb2.ExtensionFilter(
                name="envoy.access_loggers.extension_filters.cel",
                typed_config=pack(cel_pb2.ExpressionFilter(expression=expression)),
            )
        ),
        status_code=uint32(status) if status else None,
        body_format_override=body,
    )


def _body(reason: str, **more: object) -> Any:
    fields: dict[str, object] = {
        "reason": reason,
        "method": "%REQ(:METHOD)%",
        "host": "%REQ(:AUTHORITY)%",
        "path": "%REQ(:PATH)%",
        **more,
    }
    return substitution_format_string_pb2.SubstitutionFormatString(json_format=struct({"error": fields}))
