"""Plain scalars of the YAML 1.2 core schema, and nothing else.

`no` and `22:22` are text, `010` is ten, a date is text that a field may read as a date. What JSON cannot carry
from one program to the next (infinities, not-a-number, integers beyond 64 bits) is refused.
Source: YAML 1.2.2, section 10.3.2.
"""

from __future__ import annotations

import math
import re

INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff]"
)
"""Control characters, marks that reorder text on the screen, and spaces without width: a review cannot see them."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 40
_LARGEST = 2**63 - 1

Scalar = str | int | float | bool | None


class NumberRefused(ValueError):
    """A number that not every reader of the mesh could carry unchanged."""


def is_null(text: str) -> bool:
    """Whether a plain scalar stands for no value."""
    return text in _NULL


def resolve(text: str) -> Scalar:
    """The value of a plain scalar. Raises `NumberRefused`."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "0123456789+-.":
        return text
    return _number(text)


def _number(text: str) -> str | int | float:
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            # Counted before it is converted: `int()` of thousands of digits is slow, or refused by Python.
            if len(text) > _MAX_DIGITS or abs(number := int(text[2:] if base != 10 else text, base)) > _LARGEST:
                raise NumberRefused("the number does not fit in 64 bits")
            return number
    if _NOT_FINITE.fullmatch(text):
        raise NumberRefused("infinity and not-a-number are not values")
    if _FLOAT.fullmatch(text):
        real = float(text) if len(text) <= _MAX_DIGITS else math.inf
        if not math.isfinite(real):
            raise NumberRefused("the number is too large or too long")
        return real
    return text
