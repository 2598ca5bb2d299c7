"""What a caller is told when the sidecar itself answers: JSON with the reason, and the right status."""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import substitution_format_string_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from policyd.compiler.rules import MESSAGES, NO_RULE_FOR_CALLER, NO_RULE_FOR_REQUEST, NOT_CANONICAL, NOT_IN_SCOPE
from policyd.model.names import Name
from policyd_compilers.envoy.proto import pack, struct, uint32

_DENIED = "rbac_access_denied_matched_policy[{}]"


@cache
def inbound() -> Any:
    """The mapping of the inbound listener: `not-canonical` becomes 400, a denial stays 403 and says why."""
    mappers = [_denial(NOT_CANONICAL, status=400), _denial(NO_RULE_FOR_CALLER), _denial(NO_RULE_FOR_REQUEST)]
    return http_connection_manager_pb2.LocalReplyConfig(mappers=mappers, body_format=_body("%RESPONSE_CODE_DETAILS%"))


def outbound(caller: Name) -> Any:
    """The mapping of the outbound listener: a refused host by the name of its route, else what Envoy found."""
    refused = _body("%ROUTE_NAME%", message=MESSAGES[NOT_IN_SCOPE], caller=str(caller))
    return http_connection_manager_pb2.LocalReplyConfig(
        mappers=[_mapper("direct_response", refused)], body_format=_body("%RESPONSE_CODE_DETAILS%")
    )


def _denial(policy: str, status: int = 0) -> Any:
    body = _body(policy, message=MESSAGES[policy], caller="%DOWNSTREAM_PEER_URI_SAN%")
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
