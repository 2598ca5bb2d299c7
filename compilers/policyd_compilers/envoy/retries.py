"""When a failed call is made again: conditions, status codes and methods, bounded by the cluster's retry budget."""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.type.matcher.v3 import string_pb2

from policyd.model.resilience import Resilience
from policyd_compilers.envoy import failover
from policyd_compilers.envoy.proto import milliseconds, pack, uint32

CONDITIONS = frozenset(
    {
        "5xx", "cancelled", "connect-failure", "deadline-exceeded", "gateway-error", "internal", "refused-stream",
        "reset", "reset-before-request", "resource-exhausted", "retriable-4xx", "unavailable",
    }
)  # fmt: skip
"""Envoy's own words for `retry_on`, for HTTP and gRPC; everything else must be a status code."""
DRAWS = 20
"""How often another instance is drawn in place of one that has failed the call; after that it is called again.

With two instances every other draw meets it: after three of them one further try in 16 went to the same instance."""
_Policy = route_components_pb2.RetryPolicy


def policy(resilience: Resilience, followers: int = 0, *, grpc: bool = False) -> Any:
    """The retry policy of a route, or `None` where nothing is tried again.

    With `followers`, places where a call goes on while the first is down, it is tried again at least until it has got
    to the last of them.
    """
    retries = failover.retried(resilience.retries, followers, grpc=grpc)
    codes = sorted({int(word) for word in retries.on if is_status(word)})
    words = sorted({word for word in retries.on if word in CONDITIONS})
    if not retries.attempts or not (codes or words) or not retries.methods:
        return None
    message = _Policy(
        retry_on=",".join([*words, *(["retriable-status-codes"] if codes else [])]),
        num_retries=uint32(retries.attempts),
        retriable_status_codes=codes,
        # Without these headers on the request nothing is retried: one of the methods that may be sent twice.
        retriable_request_headers=[
            route_components_pb2.HeaderMatcher(name=":method", string_match=string_pb2.StringMatcher(exact=method))
            for method in sorted(set(retries.methods))
        ],
        retry_host_predicate=[
            _Policy.RetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts",
                typed_config=pack(previous_hosts_pb2.PreviousHostsPredicate()),
            )
        ],
        host_selection_retry_max_attempts=DRAWS,
        retry_back_off=_Policy.RetryBackOff(
            base_interval=milliseconds(retries.base_ms), max_interval=milliseconds(retries.max_ms)
        ),
    )
    if followers:
        message.retry_priority.CopyFrom(failover.priority())
    if resilience.timeouts.per_try_ms:
        message.per_try_timeout.CopyFrom(milliseconds(resilience.timeouts.per_try_ms))
    return message


def is_status(word: str) -> bool:
    """Whether a retry condition is a status code."""
    return word.isascii() and word.isdigit() and len(word) == 3 and "100" <= word <= "599"
