"""Tokens: `jwt_authn` believes them or not, the rules' tree asks what a good one says.

    authorization: Bearer ...  ->  jwt_authn (signature, issuer, audience, times)  ->  metadata  ->  rules

The filter stands only where some rule asks for a token, and refuses nobody: a request that needs no token is not
failed for a bad one. What it believed is in its metadata under the issuer's name. It takes the first token that it
finds in the header, so the tree also asks that the header is nothing but one token: what the application reads is
what was judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from envoy.type.matcher.v3 import string_pb2, value_pb2
from google.protobuf import empty_pb2

from policyd.compiler.conditions import TOKEN, conditions
from policyd.model.access import Access
from policyd.model.tokens import Issuer, TokenCondition
from policyd_compilers.envoy import matchers
from policyd_compilers.envoy.keys import usable_keys

FILTER = "envoy.filters.http.jwt_authn"
HEADER = "authorization"
CLOCK_SKEW_S = 60
"""How far the clocks of issuer and proxy may differ: a token counts as good for that long before and after."""
ONE_TOKEN = r"Bearer [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"  # noqa: S105
_ISSUED_BY = "iss"
_CRITICAL = "crit"
"""Extensions that whoever reads the token must understand; we understand none. Source: RFC 7515, section 4.1.11."""
_PRESENT = value_pb2.ValueMatcher(present_match=True)


def asked(access: Access) -> bool:
    """Whether some rule asks for a token."""
    return any(TOKEN in conditions(rule) for rule in access.rules)


def filter_config(issuers: Iterable[Issuer]) -> Any | None:
    """The filter that believes tokens of those issuers, or `None` where none of them has keys."""
    keys = {issuer: usable_keys(issuer.keys) for issuer in issuers if issuer.keys}
    providers = {issuer.name: _provider(issuer, found) for issuer, found in keys.items() if found}
    if not providers:
        return None
    one_of = [config_pb2.JwtRequirement(provider_name=name) for name in sorted(providers)]
    nobody_fails = config_pb2.JwtRequirement(allow_missing_or_failed=empty_pb2.Empty())
    requires = config_pb2.JwtRequirement(
        requires_any=config_pb2.JwtRequirementOrList(requirements=[*one_of, nobody_fails])
    )
    rule = config_pb2.RequirementRule(requires=requires)
    rule.match.prefix = "/"
    return config_pb2.JwtAuthentication(providers=providers, rules=[rule])


def demanding(issuer: Issuer) -> Any | None:
    """The filter that refuses requests without a good token of `issuer`, or `None` where he has no keys."""
    keys = usable_keys(issuer.keys) if issuer.keys else ""
    if not keys:
        return None
    rule = config_pb2.RequirementRule(requires=config_pb2.JwtRequirement(provider_name=issuer.name))
    rule.match.prefix = "/"
    return config_pb2.JwtAuthentication(providers={issuer.name: _provider(issuer, keys)}, rules=[rule])


def not_demanded() -> Any:
    """What switches it off on a route."""
    return config_pb2.PerRouteConfig(disabled=True)


class Judge:
    """Predicates on what the filter has left. An issuer without keys has left nothing: no token of his is good."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = tuple(issuer.name for issuer in issuers)

    def valid(self) -> Any:
        """The request came with a token that is good, whoever of the issuers has made it."""
        if not self._issuers:
            return matchers.never()
        return matchers.all_of([_one_token(), matchers.any_of([_is_there(name) for name in self._issuers])])

    def meets(self, condition: TokenCondition) -> Any:
        """The request came with a good token of the issuer and with every claim."""
        claims = [_has(condition.issuer, claim, values) for claim, values in condition.claims]
        return matchers.all_of([_one_token(), _is_there(condition.issuer), *claims])


def _one_token() -> Any:
    return matchers.header_is(HEADER, ONE_TOKEN)


def _provider(issuer: Issuer, keys: str) -> Any:
    return config_pb2.JwtProvider(
        issuer=issuer.url,
        audiences=issuer.audiences,
        local_jwks=base_pb2.DataSource(inline_string=keys),
        from_headers=[config_pb2.JwtHeader(name=HEADER, value_prefix="Bearer ")],
        forward=True,
        payload_in_metadata=issuer.name,
        header_in_metadata=_header_of(issuer.name),
        # A token that never ends could never be taken back.
        require_expiration=True,
        clock_skew_seconds=CLOCK_SKEW_S,
    )


def _is_there(issuer: str) -> Any:
    there = matchers.metadata_is(FILTER, (issuer, _ISSUED_BY), _PRESENT)
    # Envoy looks at no extension, and believes a token that says it must not be read without one. A matcher of values
    # sees neither an empty list nor an object, so that an expression asks.
    return matchers.all_of([there, matchers.left_no(FILTER, _header_of(issuer), _CRITICAL)])


def _header_of(issuer: str) -> str:
    """Where the filter leaves a token's header; no issuer has a name like this."""
    return f"{issuer} header"


def _has(issuer: str, claim: str, values: Sequence[str]) -> Any:
    """The claim is one of the values, or a list with one of them in it."""
    texts = [value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(exact=value)) for value in values]
    lists = [value_pb2.ValueMatcher(list_match=value_pb2.ListMatcher(one_of=text)) for text in texts]
    either = value_pb2.ValueMatcher(or_match=value_pb2.OrMatcher(value_matchers=[*texts, *lists]))
    return matchers.metadata_is(FILTER, (issuer, claim), either)
