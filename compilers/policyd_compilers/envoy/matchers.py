"""Predicates of Envoy's matching API, in the few shapes that access rules need.

A matcher sees the `:path` header with its query, so each path predicate says where the query may begin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from envoy.config.core.v3 import address_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.extensions.matching.common_inputs.ssl.v3 import ssl_inputs_pb2
from envoy.extensions.matching.input_matchers.ip.v3 import ip_pb2
from envoy.extensions.matching.input_matchers.metadata.v3 import metadata_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import cel_pb2 as cel_matcher_pb2
from xds.type.matcher.v3 import http_inputs_pb2 as cel_inputs_pb2
from xds.type.matcher.v3 import matcher_pb2, regex_pb2, string_pb2
from xds.type.v3 import cel_pb2

from policyd.compiler.addresses import Blocks
from policyd.model.paths import PathPattern
from policyd_compilers.envoy.expressions import left_without, request_before
from policyd_compilers.envoy.proto import pack, uint32

Predicate = Any
OnMatch = Any
_List = matcher_pb2.Matcher.MatcherList
_Single = _List.Predicate.SinglePredicate


def method_is(method: str) -> Predicate:
    """The method, exactly: `GET` is not `HEAD`."""
    return _header(":method", string_pb2.StringMatcher(exact=method))


def path_in(pattern: PathPattern) -> Predicate:
    """The path, without its query, is in the pattern's set; the request is canonical already."""
    if pattern.rest and not pattern.segments:
        return _path(string_pb2.StringMatcher(prefix="/"))
    if None in pattern.segments:
        return _path(string_pb2.StringMatcher(safe_regex=_re2(path_regex(pattern))))
    literal = "/" + "/".join(segment or "" for segment in pattern.segments)
    starts = [literal + "?"] + ([literal + "/"] if pattern.rest else [])
    exact = _path(string_pb2.StringMatcher(exact=literal))
    return any_of([exact, *(_path(string_pb2.StringMatcher(prefix=start)) for start in starts)])


def path_regex(pattern: PathPattern) -> str:
    """The pattern as RE2, for a match of the whole `:path`. Literals are quoted byte by byte."""
    body = "".join("/" + ("[^/?]+" if segment is None else re.escape(segment)) for segment in pattern.segments)
    return body + (r"(?:[/?].*)?" if pattern.rest else r"(?:\?.*)?")


def before(instant: datetime) -> Predicate:
    """The request began before `instant`."""
    return _holds(request_before(instant))


def left_no(namespace: str, key: str, field: str) -> Predicate:
    """What a filter before has left under `key` is there, and has no `field`, whatever its type."""
    return _holds(left_without(namespace, key, field))


def peer_within(blocks: Sequence[str]) -> Predicate:
    """The other end of the connection itself has an address in one of the blocks; no header is asked."""
    known = Blocks.of(blocks)
    networks: list[IPv4Network | IPv6Network] = [*known.v4, *known.v6]
    ranges = [
        address_pb2.CidrRange(address_prefix=str(each.network_address), prefix_len=uint32(each.prefixlen))
        for each in networks
    ]
    return _custom(
        extension("envoy.matching.inputs.direct_source_ip", network_inputs_pb2.DirectSourceIPInput()),
        extension("envoy.matching.matchers.ip", ip_pb2.Ip(cidr_ranges=ranges, stat_prefix="access")),
    )


def header_is(name: str, expression: str) -> Predicate:
    """The header's value as a whole fits an RE2 expression of our own making. Several headers are one value here."""
    return _header(name, string_pb2.StringMatcher(safe_regex=_re2(expression)))


def identity_is(expression: str) -> Predicate:
    """The caller's SPIFFE ID as a whole fits an RE2 expression of our own making."""
    return _List.Predicate(
        single_predicate=_Single(input=_identity(), value_match=string_pb2.StringMatcher(safe_regex=_re2(expression)))
    )


def metadata_is(namespace: str, path: Sequence[str], value: Any) -> Predicate:
    """What a filter before has left under `path` fits; where it left nothing, this does not hold."""
    segments = [network_inputs_pb2.DynamicMetadataInput.PathSegment(key=key) for key in path]
    return _custom(
        extension(
            "envoy.matching.inputs.dynamic_metadata",
            network_inputs_pb2.DynamicMetadataInput(filter=namespace, path=segments),
        ),
        extension("envoy.matching.matchers.metadata_matcher", metadata_pb2.Metadata(value=value)),
    )


def never() -> Predicate:
    """Nothing is like this: a request without a method."""
    return method_is("")


def none_of(predicate: Predicate) -> Predicate:
    """It does not hold."""
    return _List.Predicate(not_matcher=predicate)


def any_of(predicates: Sequence[Predicate]) -> Predicate:
    """One of them holds."""
    if len(predicates) == 1:
        return predicates[0]
    return _List.Predicate(or_matcher=_List.Predicate.PredicateList(predicate=predicates))


def all_of(predicates: Sequence[Predicate]) -> Predicate:
    """All of them hold."""
    if len(predicates) == 1:
        return predicates[0]
    return _List.Predicate(and_matcher=_List.Predicate.PredicateList(predicate=predicates))


def first_of(entries: Sequence[tuple[Predicate, OnMatch]], otherwise: OnMatch) -> Any:
    """The matcher that takes the first entry whose predicate holds."""
    if not entries:
        return matcher_pb2.Matcher(on_no_match=otherwise)
    fields = [_List.FieldMatcher(predicate=predicate, on_match=on_match) for predicate, on_match in entries]
    return matcher_pb2.Matcher(matcher_list=_List(matchers=fields), on_no_match=otherwise)


def by_identity(exact: dict[str, OnMatch], otherwise: OnMatch) -> Any:
    """The matcher that looks the caller's SPIFFE ID up: one hash, however many callers there are."""
    tree = matcher_pb2.Matcher.MatcherTree
    return matcher_pb2.Matcher(
        matcher_tree=tree(input=_identity(), exact_match_map=tree.MatchMap(map=exact)), on_no_match=otherwise
    )


def by_identity_prefix(prefixes: dict[str, OnMatch], otherwise: OnMatch) -> Any:
    """The matcher that takes the longest prefix of the caller's SPIFFE ID."""
    tree = matcher_pb2.Matcher.MatcherTree
    return matcher_pb2.Matcher(
        matcher_tree=tree(input=_identity(), prefix_match_map=tree.MatchMap(map=prefixes)), on_no_match=otherwise
    )


def then(matcher: Any) -> OnMatch:
    """Go on with another matcher."""
    return matcher_pb2.Matcher.OnMatch(matcher=matcher)


def act(name: str, action: Any) -> OnMatch:
    """End with an action."""
    return matcher_pb2.Matcher.OnMatch(action=extension(name, action))


def extension(name: str, message: Any) -> Any:
    """An extension's name and configuration."""
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=pack(message))


def _identity() -> Any:
    return extension("envoy.matching.inputs.uri_san", ssl_inputs_pb2.UriSanInput())


def _holds(expression: Any) -> Predicate:
    return _custom(
        extension("envoy.matching.inputs.cel_data_input", cel_inputs_pb2.HttpAttributesCelMatchInput()),
        extension(
            "envoy.matching.matchers.cel_matcher",
            cel_matcher_pb2.CelMatcher(expr_match=cel_pb2.CelExpression(cel_expr_parsed=expression)),
        ),
    )


def _custom(source: Any, matcher: Any) -> Predicate:
    return _List.Predicate(single_predicate=_Single(input=source, custom_match=matcher))


def _path(match: Any) -> Predicate:
    return _header(":path", match)


def _header(name: str, match: Any) -> Predicate:
    source = extension(
        "envoy.matching.inputs.request_headers", http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=name)
    )
    return _List.Predicate(single_predicate=_Single(input=source, value_match=match))


def _re2(expression: str) -> Any:
    return regex_pb2.RegexMatcher(regex=expression, google_re2=regex_pb2.RegexMatcher.GoogleRE2())
