"""Words of HTTP as intents write them: methods and header names."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from policyd.intents.units import shown, unreadable
from policyd.model.methods import METHODS, is_canonical_method

ANY = "*"
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")


def method(value: object) -> str:
    """Read one of the methods that a canonical request may have; others are refused before any rule."""
    if isinstance(value, str) and is_canonical_method(value):
        return value
    text = shown(value)
    upper = text.upper()
    hint = (
        f"write `{upper}`" if is_canonical_method(upper) else "one of " + ", ".join(f"`{name}`" for name in METHODS)
    )
    raise unreadable(f"`{text}` is not a method that a request may have", hint=hint, code="PD1106")


def method_or_any(value: object) -> str:
    """Read a method, or `*` for every method."""
    return ANY if value == ANY else method(value)


def header_name(value: object) -> str:
    """Read the name of a header in lower case, as HTTP/2 carries it. Source: RFC 9110, 5.6.2 (token)."""
    if isinstance(value, str) and _HEADER.fullmatch(value.lower()):
        return value.lower()
    raise unreadable(f"`{shown(value)}` is not the name of a header", hint="for example `x-canary`", code="PD1107")


def header_value(value: object) -> str:
    """Read the exact value of a header: visible ASCII, spaces inside."""
    if isinstance(value, str) and _VALUE.fullmatch(value):
        return value
    raise unreadable(f"`{shown(value)}` is not the value of a header", hint='write it in quotes: `"yes"`')


Method = Annotated[str, PlainValidator(method), WithJsonSchema({"type": "string", "enum": list(METHODS)})]
MethodOrAny = Annotated[
    str, PlainValidator(method_or_any), WithJsonSchema({"type": "string", "enum": [ANY, *METHODS]})
]
HeaderName = Annotated[str, PlainValidator(header_name), WithJsonSchema({"type": "string"})]
HeaderValue = Annotated[str, PlainValidator(header_value), WithJsonSchema({"type": "string"})]
