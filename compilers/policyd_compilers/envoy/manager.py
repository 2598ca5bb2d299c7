"""The HTTP connection manager: everything that Envoy would otherwise decide by default, said out loud."""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import address_pb2, extension_pb2, protocol_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.type.matcher.v3 import string_pb2

from policyd_compilers.envoy.proto import boolean, milliseconds, pack, seconds, uint32
from policyd_compilers.envoy.sources import ads

_Manager = http_connection_manager_pb2.HttpConnectionManager
_Filter = http_connection_manager_pb2.HttpFilter
REQUEST_HEADERS_TIMEOUT_S = 10
MAX_HEADERS_KB = 60
MAX_HEADERS = 100
MAX_STREAMS = 1_024
DRAIN_S = 5
CLAIMS = ("x-envoy-", "client-cert")
"""The ones could set timeouts, retries and even the path, the others (RFC 9440) claim an identity."""
NOBODY = address_pb2.CidrRange(address_prefix="255.255.255.255", prefix_len=uint32(32))
"""No peer is "internal", so that nobody's address makes his headers trusted. This one address can be nobody's; an
empty list would mean every private one."""


def base(stat_prefix: str, route_config: str, *, idle_ms: int, stream_idle_ms: int) -> Any:
    """A manager with routes by RDS and no filters yet. Paths are passed on exactly as they came."""
    return _Manager(
        codec_type=_Manager.AUTO,
        stat_prefix=stat_prefix,
        rds=http_connection_manager_pb2.Rds(config_source=ads(), route_config_name=route_config),
        normalize_path=boolean(False),
        merge_slashes=False,
        strip_any_host_port=True,
        strip_trailing_host_dot=True,
        server_header_transformation=_Manager.PASS_THROUGH,
        generate_request_id=boolean(True),
        preserve_external_request_id=True,
        use_remote_address=boolean(True),
        internal_address_config=_Manager.InternalAddressConfig(cidr_ranges=[NOBODY]),
        early_header_mutation_extensions=[without(CLAIMS)],
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=milliseconds(idle_ms), max_headers_count=uint32(MAX_HEADERS)
        ),
        http_protocol_options=protocol_pb2.Http1ProtocolOptions(allow_absolute_url=boolean(True)),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=uint32(MAX_STREAMS),
            override_stream_error_on_invalid_http_message=boolean(True),
        ),
        max_request_headers_kb=uint32(MAX_HEADERS_KB),
        request_headers_timeout=seconds(REQUEST_HEADERS_TIMEOUT_S),
        request_timeout=milliseconds(0),
        stream_idle_timeout=milliseconds(stream_idle_ms),
        drain_timeout=seconds(DRAIN_S),
        delayed_close_timeout=seconds(1),
    )


def add_filter(manager: Any, name: str, config: Any) -> None:
    """Append an HTTP filter; requests pass the filters in this order."""
    manager.http_filters.append(_Filter(name=name, typed_config=pack(config)))


def add_router(manager: Any) -> None:
    """Append the router, which ends every chain. It adds no `x-envoy-*` headers of its own."""
    add_filter(manager, "envoy.filters.http.router", router_pb2.Router(suppress_envoy_headers=True))


@cache
def without(prefixes: tuple[str, ...]) -> Any:
    """Removes headers that begin so from requests first of all."""
    mutations = [
        mutation_rules_pb2.HeaderMutation(
            remove_on_match=mutation_rules_pb2.HeaderMutation.RemoveOnMatch(
                key_matcher=string_pb2.StringMatcher(prefix=prefix, ignore_case=True)
            )
        )
        for prefix in prefixes
    ]
    return extension_pb2.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=pack(header_mutation_pb2.HeaderMutation(mutations=mutations)),
    )
