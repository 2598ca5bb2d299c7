"""The first filter of every inbound listener: what is not canonical is denied by the policy `not-canonical`.

A canonical request has one meaning: no two parsers can read it differently, so what the rules judged is what
the application sees. Envoy itself already answers 400 to some of it; this filter refuses the rest, and the
connection manager turns just this denial into 400. Were that mapping lost, the answer would be 403: still closed.

The path is a conjunction of small expressions, each below Envoy's default limit on the size of a regular
expression, that together say exactly `policyd.model.paths.is_canonical_path`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2
from envoy.type.matcher.v3 import path_pb2, regex_pb2, string_pb2

from policyd.compiler.rules import NOT_CANONICAL
from policyd.model.methods import CONNECTION, METHODS

FILTER = "policyd.canonical"
_TARGET = r"/[!\"$-~]*"
"""Path and query together begin with `/` and are visible ASCII without `#`: by HTTP/2 anything else would pass."""
_BYTES = r"/[!$&'()*+,=:@%A-Za-z0-9._~/-]*"
"""It starts with `/` and holds nothing but path characters; no `\\`, `;`, `#`, control byte or byte above 0x7f."""
_ESCAPES = r"(?:[!-$&-~]|%(?:0[1-9A-F]|1[0-9A-F]|2[0235]|3[BCEF]|5[BDE]|60|7[BCDF]|[89A-F][0-9A-F]))*"
"""Every escape is upper-case hex of a byte that needs it, and none of `%2F %5C %00 %2E`."""
_DOT_SEGMENT = r".*/\.\.?(?:/.*)?"
_HOST = r"(?i)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
"""One host name or address; the connection manager has removed the port and one trailing dot before."""


@cache
def filter_config(*, opaque_paths: bool) -> Any:
    """The RBAC filter that denies what is not canonical. Opaque paths are passed on as they are."""
    wrong = [_not(_methods()), _not(_regex_header(":authority", _HOST)), _not(_regex_header(":path", _TARGET))]
    if not opaque_paths:
        wrong += [
            _not(_path(regex_match(_BYTES))),
            _not(_path(regex_match(_ESCAPES))),
            _path(string_pb2.StringMatcher(contains="//")),
            _path(regex_match(_DOT_SEGMENT)),
        ]
    return _denied(wrong)


@cache
def connections_only() -> Any:
    """The same where a service takes connections: every request for anything else is not canonical."""
    asked = _header(":method", string_pb2.StringMatcher(exact=CONNECTION))
    return _denied([_not(asked)])


def _denied(wrong: Sequence[Any]) -> Any:
    policy = rbac_pb2.Policy(
        permissions=[rbac_pb2.Permission(or_rules=rbac_pb2.Permission.Set(rules=wrong))],
        principals=[rbac_pb2.Principal(any=True)],
    )
    return filter_pb2.RBAC(
        rules=rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY, policies={NOT_CANONICAL: policy}),
        rules_stat_prefix="canon_",
    )


def regex_match(pattern: str) -> Any:
    """A match of the whole value by an RE2 expression of our own making, never of names."""
    return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=pattern))


def _methods() -> Any:
    return rbac_pb2.Permission(
        or_rules=rbac_pb2.Permission.Set(
            rules=[_header(":method", string_pb2.StringMatcher(exact=method)) for method in METHODS]
        )
    )


def _regex_header(name: str, pattern: str) -> Any:
    return _header(name, regex_match(pattern))


def _header(name: str, match: Any) -> Any:
    return rbac_pb2.Permission(header=route_components_pb2.HeaderMatcher(name=name, string_match=match))


def _path(match: Any) -> Any:
    return rbac_pb2.Permission(url_path=path_pb2.PathMatcher(path=match))


def _not(permission: Any) -> Any:
    return rbac_pb2.Permission(not_rule=permission)
