"""The same value made again from its parts: nothing that was computed before, and kept with it, comes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")


def anew(value: T) -> T:
    """An equal value whose digests and indexes are computed again."""
    return cast("T", _anew(value))


def _anew(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        said = {each.name: _anew(getattr(value, each.name)) for each in fields(value) if each.init}
        return type(value)(**said)
    if isinstance(value, Mapping):
        return {_anew(key): _anew(one) for key, one in value.items()}
    if type(value) in {tuple, frozenset}:
        return type(value)(_anew(one) for one in value)
    return value
