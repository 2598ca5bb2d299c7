"""What becomes of a request to a destination: the rules of its route, each with its ways, then everything else.

The order of Envoy's routes is the order of the rules; the first that matches is taken. One rule is several of them:
one for each of its paths, for requests that a canary takes first, for upgrades, and for clients without a cookie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from policyd.compiler.failover import Ways
from policyd.compiler.naming import pinned_cluster_name
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.resilience import Resilience
from policyd.model.route import Carrier, Condition, How, Match, RouteRule, Sticky
from policyd.model.service import HeaderMatch, Protocol, Service
from policyd.model.ways import Fork, Known, Way, forks
from policyd_compilers.envoy import balancing, failover, retries, route_actions, upgrades
from policyd_compilers.envoy.proto import boolean, milliseconds, uint32

REQUEST_ID = "x-request-id"
"""Set by the sidecar before it looks for a route, unless the application passes one on: a new client's number."""
_Action = route_components_pb2.RouteAction
_Match = route_components_pb2.RouteMatch


def of_rule(service: Service, rule: RouteRule, known: Known, led: Ways) -> Iterator[Any]:
    """The routes of one rule, those that ask for more first."""
    resilience = rule.override.over(service.resilience)
    for path in rule.match.paths or (EVERYTHING,):
        if rule.redirect is not None:
            away = route_actions.redirect(rule.redirect)
            match = _narrowed(_Match(), path, rule.match)
            yield route_components_pb2.Route(name=f"rule:{rule.name}", match=match, redirect=away)
            continue
        for base, offered, timeout_ms in upgrades.routes(service, resilience.timeouts.request_ms):
            matched = _narrowed(base, path, rule.match)
            for fork in forks(service, rule, known):
                made = _forked(f"rule:{rule.name}", with_headers(matched, fork.headers), fork, rule.sticky, led)
                for route in made:
                    if route.HasField("route"):
                        led_on = followers(fork.ways, led)
                        finish(route.route, resilience, timeout_ms, offered, led_on, protocol=service.protocol)
                        route_actions.act(route, service, rule, path, known)
                    yield route


def finish(
    action: Any,
    resilience: Resilience,
    timeout_ms: int,
    offered: Sequence[Any] = (),
    followers: int = 0,
    *,
    protocol: Protocol,
) -> None:
    """Bounds and further tries of the calls that an action makes."""
    action.timeout.CopyFrom(milliseconds(timeout_ms))
    action.upgrade_configs.extend(offered)
    action.idle_timeout.CopyFrom(milliseconds(resilience.timeouts.idle_ms))
    policy = retries.policy(resilience, followers, grpc=protocol is Protocol.GRPC)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)
    if resilience.timeouts.stream_ms:
        action.max_stream_duration.max_stream_duration.CopyFrom(milliseconds(resilience.timeouts.stream_ms))
    if not action.hash_policy:  # a client that stays is known by what its rule says
        balancing.hashed(action, resilience.load_balancing)
    action.cluster_not_found_response_code = _Action.SERVICE_UNAVAILABLE


def followers(ways: Sequence[Way], led: Ways) -> int:
    """How many places calls can be led on to while the version that they are for is down."""
    return max((0, *(len(led.get((way.service, way.version), ())) - 1 for way in ways if not way.pinned)))


def action_to(ways: Sequence[Way], led: Ways) -> Any:
    """The action that shares requests among ways, in their order; the draw is made for each request."""
    names = [pinned_cluster_name(way.service, way.version) if way.pinned else _name(way, led) for way in ways]
    if len(ways) == 1:
        return _Action(cluster=names[0])
    action = _Action()
    action.weighted_clusters.clusters.extend(
        route_components_pb2.WeightedCluster.ClusterWeight(name=name, weight=uint32(way.weight))
        for name, way in zip(names, ways, strict=True)
    )
    return action


def with_headers(match: Any, headers: Sequence[HeaderMatch]) -> Any:
    """The same requests, as far as they bring all of these headers."""
    narrower = _Match()
    narrower.CopyFrom(match)
    narrower.headers.extend(_header(each.name, string_pb2.StringMatcher(exact=each.value)) for each in headers)
    return narrower


def _name(way: Way, led: Ways) -> str:
    return failover.target(way.service, way.version, led)


def _forked(name: str, match: Any, fork: Fork, sticky: Sticky | None, led: Ways) -> Iterator[Any]:
    """A fork's routes: two where a client may come without the cookie that it is known by."""
    if not fork.ways:
        refusal = route_components_pb2.DirectResponseAction(status=403)
        yield route_components_pb2.Route(name=NOT_IN_SCOPE, match=match, direct_response=refusal)
        return
    if sticky is None or len(fork.ways) == 1:
        yield route_components_pb2.Route(name=name, match=match, route=action_to(fork.ways, led))
        return
    if sticky.by is Carrier.HEADER:
        yield route_components_pb2.Route(name=name, match=match, route=_hashed(fork, led, _by_header(sticky.name)))
        return
    known = _Match()
    known.CopyFrom(match)
    known.headers.append(_cookie(Condition(sticky.name, how=How.PRESENT)))
    by_cookie = _Action.HashPolicy(cookie=_Action.HashPolicy.Cookie(name=sticky.name), terminal=True)
    yield route_components_pb2.Route(name=name, match=known, route=_hashed(fork, led, by_cookie))
    # A new client's number is the id of this very request, and that is what the cookie will say: the hash of a header
    # and of a cookie are the same, so that the client stays where this request goes.
    new = route_components_pb2.Route(name=name, match=match, route=_hashed(fork, led, _by_header(REQUEST_ID)))
    new.response_headers_to_add.append(_given(sticky))
    yield new


def _hashed(fork: Fork, led: Ways, policy: Any) -> Any:
    action = action_to(fork.ways, led)
    action.weighted_clusters.use_hash_policy.CopyFrom(boolean(True))
    action.hash_policy.append(policy)
    return action


def _by_header(name: str) -> Any:
    return _Action.HashPolicy(header=_Action.HashPolicy.Header(header_name=name), terminal=True)


def _given(sticky: Sticky) -> Any:
    """The cookie for a client that brought none. Source: RFC 6265, section 4.1."""
    age = f"; Max-Age={sticky.ttl_s}" if sticky.ttl_s else ""
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(
            key="set-cookie", value=f"{sticky.name}=%REQ({REQUEST_ID})%; Path=/; HttpOnly{age}"
        ),
        append_action=base_pb2.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD,
    )


def _narrowed(base: Any, path: PathPattern, match: Match) -> Any:
    """`base` for one of the paths, with all else that the rule asks for."""
    narrower = _Match()
    narrower.CopyFrom(base)
    _set_path(narrower, path)
    if match.methods:
        narrower.headers.append(_header(":method", _one_of(match.methods)))
    if match.hosts:
        narrower.headers.append(_header(":authority", _one_of(match.hosts, "(?i)")))
    narrower.headers.extend(_condition(each) for each in match.headers)
    narrower.headers.extend(_cookie(each) for each in match.cookies)
    narrower.query_parameters.extend(_parameter(each) for each in match.query)
    return narrower


def _set_path(match: Any, pattern: PathPattern) -> None:
    """The path without its query is in the pattern's set; the query takes no part in Envoy's path matches either."""
    literal = "".join(f"/{segment}" for segment in pattern.segments if segment is not None)
    if pattern == EVERYTHING:
        match.prefix = "/"
    elif None in pattern.segments or (pattern.rest and literal.endswith("/")):
        body = "".join("/" + ("[^/]+" if one is None else re.escape(one)) for one in pattern.segments)
        match.safe_regex.regex = body + ("(?:/.*)?" if pattern.rest else "")
    elif pattern.rest:
        match.path_separated_prefix = literal
    else:
        match.path = literal


def _condition(condition: Condition) -> Any:
    if condition.how is How.PRESENT:
        return route_components_pb2.HeaderMatcher(name=condition.name, present_match=True)
    return _header(condition.name, _compared(condition))


def _parameter(condition: Condition) -> Any:
    if condition.how is How.PRESENT:
        return route_components_pb2.QueryParameterMatcher(name=condition.name, present_match=True)
    return route_components_pb2.QueryParameterMatcher(name=condition.name, string_match=_compared(condition))


def _compared(condition: Condition) -> Any:
    if condition.how is How.PREFIX:
        return string_pb2.StringMatcher(prefix=condition.value)
    return string_pb2.StringMatcher(exact=condition.value)


def _cookie(condition: Condition) -> Any:
    """One of the cookies in the one header. Values are quoted byte by byte."""
    value = {
        How.EXACT: re.escape(condition.value) + r"[ \t]*",
        How.PREFIX: re.escape(condition.value) + "[^;]*",
        How.PRESENT: "[^;]*",
    }[condition.how]
    return _header("cookie", _regex(rf"(?:.*;)?[ \t]*{re.escape(condition.name)}={value}(?:;.*)?"))


def _one_of(words: Sequence[str], flags: str = "") -> Any:
    if len(words) == 1:
        return string_pb2.StringMatcher(exact=words[0], ignore_case=bool(flags))
    return _regex(flags + "|".join(map(re.escape, words)))


def _regex(expression: str) -> Any:
    return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=expression))


def _header(name: str, match: Any) -> Any:
    return route_components_pb2.HeaderMatcher(name=name, string_match=match)
