"""Words of HTTP as intents write them: methods and header names."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from policyd.intents.units import shown, unreadable

ANY = "*"
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")


def method(value: object) -> str:
    """Read an upper-case method such as `GET`."""
    if isinstance(value, str) and _METHOD.fullmatch(value):
        return value
    upper = value.upper() if isinstance(value, str) else ""
    raise unreadable(
        f"`{shown(value)}` is not a method",
        hint=f"write `{upper}`" if _METHOD.fullmatch(upper) else "for example `GET`",
    )


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


Method = Annotated[str, PlainValidator(method), WithJsonSchema({"type": "string", "pattern": "^[A-Z][A-Z-]*$"})]
MethodOrAny = Annotated[
    str, PlainValidator(method_or_any), WithJsonSchema({"type": "string", "pattern": r"^([A-Z][A-Z-]*|\*)$"})
]
HeaderName = Annotated[str, PlainValidator(header_name), WithJsonSchema({"type": "string"})]
HeaderValue = Annotated[str, PlainValidator(header_value), WithJsonSchema({"type": "string"})]
