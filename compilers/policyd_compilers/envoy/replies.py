"""What a caller is told when the sidecar itself answers: JSON with the reason, and the right status."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from policyd.compiler.naming import EDGE_HEADER
from policyd.compiler.rules import (
    ADDRESS_NOT_ALLOWED,
    MESSAGES,
    MISDIRECTED,
    NO_RULE_FOR_CALLER,
    NO_RULE_FOR_REQUEST,
    NO_VALID_TOKEN,
    NOT_CANONICAL,
    NOT_IN_SCOPE,
    RATE_LIMITED,
    REVOKED,
)
from policyd.model.names import Name
from policyd_compilers.envoy.proto import pack, struct, uint32

_NONE: Mapping[str, str] = MappingProxyType({})
_CALLER = f"%CEL('{EDGE_HEADER}' in request.headers ? '' : connection.uri_san_peer_certificate)%"
"""Who asks, for himself; what goes back by a gateway names nobody."""
NO_ROUTE = "route_not_found"
"""The name of a route for what nothing else takes; Envoy's own word where there is none."""
UPSTREAM_FAILURE = "upstream-failure"
"""What clients outside are told of a service that cannot be reached."""
_DENIED = "rbac_access_denied_matched_policy[{}]"


@cache
def inbound(*, limited: bool, grpc: bool = False) -> Any:
    """The mapping of the inbound listener: a denial stays 403 and says why, save two that have a better status.

    `not-canonical` becomes 400. Where only a token is missing, 401 says what to bring (RFC 6750, section 3). `grpc`
    has `PERMISSION_DENIED` for 403 and `UNAUTHENTICATED` for 401, with the same text.
    """
    mappers = [
        *([_too_late()] if grpc else []),
        _denial(NOT_CANONICAL, status=400),
        # `OPTIONS *`, which Envoy turns down before any filter, with 404.
        _mapper("absolute_path_rejected", _body(NOT_CANONICAL, message=MESSAGES[NOT_CANONICAL]), 400),
        _denial(REVOKED),
        _denial(NO_VALID_TOKEN, status=401, headers={"www-authenticate": "Bearer"}),
        _denial(NO_RULE_FOR_CALLER),
        _denial(NO_RULE_FOR_REQUEST),
    ]
    if limited:
        mappers.append(
            _mapper("local_rate_limited", _body(RATE_LIMITED, message=MESSAGES[RATE_LIMITED], caller=_CALLER))
        )
    return http_connection_manager_pb2.LocalReplyConfig(mappers=mappers, body_format=_body("%RESPONSE_CODE_DETAILS%"))


def outbound(caller: Name, *, redirects: bool = False, judged: bool = False, grpc: bool = False) -> Any:
    """The mapping of the outbound listener: a refused host by the name of its route, else what Envoy found.

    A redirect is a direct response as well; the name of its route tells the two apart. `judged`: calls leave the mesh
    here, so that this sidecar says why one may not.
    """
    refused = _body("%ROUTE_NAME%", message=MESSAGES[NOT_IN_SCOPE], caller=str(caller))
    mappers = [
        *([_too_late()] if grpc else []),
        *([_redirected()] if redirects else []),
        _mapper("direct_response", refused),
    ]
    if judged:
        who = str(caller)
        mappers += [_denial(NOT_CANONICAL, status=400, caller=who)]
        mappers += [_denial(reason, caller=who) for reason in (REVOKED, NO_RULE_FOR_REQUEST)]
    return http_connection_manager_pb2.LocalReplyConfig(mappers=mappers, body_format=_body("%RESPONSE_CODE_DETAILS%"))


@cache
def edge() -> Any:
    """The mapping of a gateway: who asks is told why, and nothing about who is behind it."""
    misdirected = _body(MISDIRECTED, message=MESSAGES[MISDIRECTED])
    closed = _body(NOT_IN_SCOPE, message=MESSAGES[NO_RULE_FOR_REQUEST])
    token = _body(NO_VALID_TOKEN, message=MESSAGES[NO_VALID_TOKEN])
    asked = {"www-authenticate": "Bearer"}
    mappers = [
        _redirected(),
        _when(f"response.code_details == 'direct_response' && xds.route_name == '{MISDIRECTED}'", misdirected),
        _when(f"response.code_details == 'direct_response' && xds.route_name == '{NO_ROUTE}'", _body(NO_ROUTE)),
        _mapper("direct_response", closed),
        _mapper(_DENIED.format(NOT_CANONICAL), _body(NOT_CANONICAL, message=MESSAGES[NOT_CANONICAL]), 400),
        _mapper("absolute_path_rejected", _body(NOT_CANONICAL, message=MESSAGES[NOT_CANONICAL]), 400),
        _mapper(
            _DENIED.format(ADDRESS_NOT_ALLOWED), _body(ADDRESS_NOT_ALLOWED, message=MESSAGES[ADDRESS_NOT_ALLOWED])
        ),
        _mapper(_DENIED.format(NO_VALID_TOKEN), token, 401, asked),
        # Envoy answers 403 to a token for somebody else; who holds it can only bring another one.
        _when("response.code_details.startsWith('jwt_authn_access_denied')", token, 401, asked),
        # In braces stands what the other side said or showed, its identity and addresses among it: for the log alone.
        _when("response.code_details.contains('{')", _body(UPSTREAM_FAILURE)),
    ]
    return http_connection_manager_pb2.LocalReplyConfig(mappers=mappers, body_format=_body("%RESPONSE_CODE_DETAILS%"))


def _too_late() -> Any:
    """A gRPC call whose time is up: Envoy alone would say `UNAVAILABLE`, which is what callers try again.

    Source: gRPC, "Status codes and their use": `DEADLINE_EXCEEDED`, 4.
    """
    late = "response.code_details in ['response_timeout', 'upstream_per_try_timeout']"
    asked = "request.headers['content-type'].startsWith('application/grpc')"
    return _when(f"{late} && {asked}", _body("%RESPONSE_CODE_DETAILS%"), headers={"grpc-status": "4"})


def _redirected() -> Any:
    body = substitution_format_string_pb2.SubstitutionFormatString(json_format=struct({"redirect": "%ROUTE_NAME%"}))
    return _when("response.code_details == 'direct_response' && xds.route_name.startsWith('rule:')", body)


def _denial(policy: str, status: int = 0, headers: Mapping[str, str] = _NONE, caller: str = _CALLER) -> Any:
    body = _body(policy, message=MESSAGES[policy], caller=caller)
    return _mapper(_DENIED.format(policy), body, status, headers)


def _mapper(details: str, body: Any, status: int = 0, headers: Mapping[str, str] = _NONE) -> Any:
    """What replies with these details become. A filter on dynamic metadata would not match on a denial."""
    return _when(f"response.code_details == '{details}'", body, status, headers)


def _when(expression: str, body: Any, status: int = 0, headers: Mapping[str, str] = _NONE) -> Any:
    return http_connection_manager_pb2.ResponseMapper(
        filter=accesslog_pb2.AccessLogFilter(
            extension_filter=accesslog_pb2.ExtensionFilter(
                name="envoy.access_loggers.extension_filters.cel",
                typed_config=pack(cel_pb2.ExpressionFilter(expression=expression)),
            )
        ),
        status_code=uint32(status) if status else None,
        body_format_override=body,
        headers_to_add=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=name, value=value),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for name, value in headers.items()
        ],
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
