"""Parts of `kind: Route`: which requests a rule means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.http import HeaderName, HeaderValue, Method
from policyd.intents.kind import OneOrMany, Part
from policyd.intents.units import Path, shown, unreadable

_WORD = re.compile(r"[A-Za-z0-9_.~!$'()*+,:@-]{1,64}")
_COOKIE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COOKIE_VALUE = re.compile(r"[A-Za-z0-9!#$%&'()*+./:<=>?@\[\]^_`{|}~-]{1,128}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?")


def _parameter(value: object) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    raise unreadable(
        f"`{shown(value)}` cannot be a parameter of a query, or its value, as it is",
        hint="letters, digits and `_ . ~ ! $ ' ( ) * + , : @ -`; escapes are not undone",
    )


def _cookie_name(value: object) -> str:
    """The part of what RFC 6265, section 4.1.1 allows that every proxy can write without an escape."""
    if isinstance(value, str) and _COOKIE.fullmatch(value):
        return value
    raise unreadable(f"`{shown(value)}` is not the name of a cookie", hint="for example `beta`", code="PD1107")


def _cookie_value(value: object) -> str:
    """Source: RFC 6265, section 4.1.1 (cookie-octet)."""
    if isinstance(value, str) and _COOKIE_VALUE.fullmatch(value):
        return value
    raise unreadable(f"`{shown(value)}` is not the value of a cookie", hint='write it in quotes: `"yes"`')


def _host(value: object) -> str:
    if isinstance(value, str) and _HOST.fullmatch(value):
        return value
    raise unreadable(f"`{shown(value)}` is not a host", hint="in lower case and without port: `checkout.default`")


_STRING = WithJsonSchema({"type": "string"})
Parameter = Annotated[str, PlainValidator(_parameter), _STRING]
CookieName = Annotated[str, PlainValidator(_cookie_name), _STRING]
CookieValue = Annotated[str, PlainValidator(_cookie_value), _STRING]
Host = Annotated[str, PlainValidator(_host), _STRING]


class _Compared(Part):
    """How a value is compared; one of `exact`, `prefix` and `present`."""

    present: Literal[True] | None = None
    """It is there, whatever it says."""

    @model_validator(mode="after")
    def _one_of(self) -> _Compared:
        if len(self.model_fields_set) != 1:
            raise unreadable(
                "say one of `exact`, `prefix` and `present: true`",
                hint='or the value itself: `x-beta: "yes"`',
                code="PD1104",
            )
        return self


class HeaderCondition(_Compared):
    """What a header must say."""

    exact: HeaderValue | None = None
    """The whole value; the same as to write it alone."""
    prefix: HeaderValue | None = None
    """What the value begins with."""


class QueryCondition(_Compared):
    """What a parameter of the query must say."""

    exact: Parameter | None = None
    """The whole value; the same as to write it alone."""
    prefix: Parameter | None = None
    """What the value begins with."""


class CookieCondition(_Compared):
    """What a cookie must say."""

    exact: CookieValue | None = None
    """The whole value; the same as to write it alone."""
    prefix: CookieValue | None = None
    """What the value begins with."""


def _exact(value: object) -> object:
    return value if isinstance(value, dict) else {"exact": value}


def one_case(value: object) -> object:
    """Hold names of headers apart: they have one case, so that two conditions of one would be one that is lost."""
    seen: set[str] = set()
    for name in value if isinstance(value, dict) else ():
        if str(name).lower() in seen:
            raise unreadable(
                f"the header `{str(name).lower()}` stands here twice",
                hint="upper and lower case are one name: keep one of them",
                code="PD1111",
            )
        seen.add(str(name).lower())
    return value


Headers = Annotated[
    Mapping[
        HeaderName, Annotated[HeaderCondition, BeforeValidator(_exact, json_schema_input_type=str | HeaderCondition)]
    ],
    BeforeValidator(one_case),
]
Query = Mapping[
    Parameter, Annotated[QueryCondition, BeforeValidator(_exact, json_schema_input_type=str | QueryCondition)]
]
Cookies = Mapping[
    CookieName, Annotated[CookieCondition, BeforeValidator(_exact, json_schema_input_type=str | CookieCondition)]
]


class Match(Part):
    """Which requests. Several fields narrow it down; several hosts, paths or methods widen it."""

    hosts: OneOrMany[Host] = ()
    """Names of the service that callers used, for example `checkout.default`. Any of them unless you say so."""
    paths: Annotated[OneOrMany[Path], Field(max_length=32)] = ()
    """The paths, in the grammar of access rules: `/v1/orders/{id}`, `/v1/**`."""
    methods: OneOrMany[Method] = ()
    """The methods; `GET` does not include `HEAD`."""
    headers: Headers = Field(default_factory=dict)
    """Request headers: `{x-beta: "yes"}`, `{x-user: {prefix: "test-"}}`, `{x-beta: {present: true}}`."""
    query: Query = Field(default_factory=dict)
    """Parameters of the query, as they are written there: `{beta: "1"}`, or `prefix` and `present`."""
    cookies: Cookies = Field(default_factory=dict)
    """Cookies: `{beta: "yes"}`, or `prefix` and `present`."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Match:
        if not any(getattr(self, name) for name in self.model_fields_set):
            raise unreadable(
                "an empty `match` means every request", hint="leave `match` out to say so", code="PD1104"
            )
        return self
