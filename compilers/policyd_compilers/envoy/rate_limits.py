"""Rate limits: token buckets of one instance, asked for after the access rules have let a request in.

They ride in the route configuration, where a changed number reaches live connections and closes none. Every limit is
a descriptor of its own, and a request takes a token of each that it falls under.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.rate_limit_descriptors.expr.v3 import expr_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from envoy.type.v3 import percent_pb2, token_bucket_pb2

from policyd.model.access import ANY_METHOD
from policyd.model.rate_limit import RateLimit
from policyd.model.service import Protocol, Service
from policyd_compilers.envoy.matchers import path_regex
from policyd_compilers.envoy.proto import boolean, milliseconds, pack, uint32

FILTER = "envoy.filters.http.local_ratelimit"
STAT_PREFIX = "rate_limit"
CALLERS = 10_000
"""For so many callers an instance keeps a bucket of their own; the one that asked longest ago begins anew."""
_Action = route_components_pb2.RateLimit.Action
_Entry = ratelimit_pb2.RateLimitDescriptor.Entry
_CALLER = "caller"
_UNLIMITED = token_bucket_pb2.TokenBucket(
    max_tokens=2**32 - 1, tokens_per_fill=uint32(2**32 - 1), fill_interval=milliseconds(1_000)
)
"""What a request without a limit takes from; Envoy insists on such a bucket."""
_ALWAYS = base_pb2.RuntimeFractionalPercent(default_value=percent_pb2.FractionalPercent(numerator=100))


def unlimited() -> Any:
    """The listener's own filter: without a bucket it lets everything through, unless a route says more."""
    return local_rate_limit_pb2.LocalRateLimit(stat_prefix=STAT_PREFIX)


def per_route(service: Service) -> Any:
    """What overrides it on the routes of one service that has limits."""
    limits = service.rate_limits
    return local_rate_limit_pb2.LocalRateLimit(
        stat_prefix=STAT_PREFIX,
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS,
        token_bucket=_UNLIMITED,
        descriptors=[_bucket(number, limit) for number, limit in enumerate(limits)],
        rate_limits=[_counted(number, limit) for number, limit in enumerate(limits)],
        max_dynamic_descriptors=uint32(CALLERS),
        always_consume_default_token_bucket=boolean(False),
        enable_x_ratelimit_headers=ratelimit_pb2.DRAFT_VERSION_03,
        response_headers_to_add=[_retry_after(limits)],
        rate_limited_as_resource_exhausted=service.protocol is Protocol.GRPC,
    )


def _bucket(number: int, limit: RateLimit) -> Any:
    entries = [_Entry(key="limit", value=str(number))]
    if limit.each_caller:
        entries.append(_Entry(key=_CALLER))  # no value: a bucket for each that comes
    return ratelimit_pb2.LocalRateLimitDescriptor(
        entries=entries,
        token_bucket=token_bucket_pb2.TokenBucket(
            max_tokens=limit.burst,
            tokens_per_fill=uint32(limit.requests),
            fill_interval=milliseconds(limit.per_ms),
        ),
    )


def _counted(number: int, limit: RateLimit) -> Any:
    """Which requests fall under a limit, and by whom they are told apart. Actions are ANDed."""
    actions = [_Action(generic_key=_Action.GenericKey(descriptor_key="limit", descriptor_value=str(number)))]
    if conditions := [*_methods(limit.methods), *_paths(limit)]:
        actions = [_matching(number, conditions)]
    if limit.each_caller:
        actions.append(_identity())
    return route_components_pb2.RateLimit(actions=actions)


def _matching(number: int, conditions: Sequence[Any]) -> Any:
    match = _Action.HeaderValueMatch(descriptor_key="limit", descriptor_value=str(number), headers=conditions)
    return _Action(header_value_match=match)


def _methods(methods: Sequence[str]) -> list[Any]:
    return [] if ANY_METHOD in methods else [_header(":method", "|".join(methods))]


def _paths(limit: RateLimit) -> list[Any]:
    return [_header(":path", "|".join(path_regex(path) for path in limit.paths))] if limit.paths else []


def _header(name: str, expression: str) -> Any:
    matcher = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=expression))
    return route_components_pb2.HeaderMatcher(name=name, string_match=matcher)


def _identity() -> Any:
    """The caller's SPIFFE ID from his certificate; no header can claim another one."""
    expression = expr_pb2.Descriptor(descriptor_key=_CALLER, text="connection.uri_san_peer_certificate")
    return _Action(
        extension=extension_pb2.TypedExtensionConfig(
            name="envoy.rate_limit_descriptors.expr", typed_config=pack(expression)
        )
    )


def _retry_after(limits: Sequence[RateLimit]) -> Any:
    """`Retry-After` (RFC 9110, 10.2.3): by then every bucket has a token again, unless others were faster."""
    wait_s = math.ceil(max(limit.token_ms for limit in limits) / 1_000)
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key="retry-after", value=str(wait_s)),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
