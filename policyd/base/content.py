"""Names by content: the digest of a value is its identity through lowering, plan, compilers and store.

Fields marked `compare=False` (locations, owners, commits) are left out, exactly as equality leaves them out.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")

DIGEST_LENGTH = 16
"""Hex digits of a digest: 64 bits, enough for the objects of one mesh and short enough to read aloud."""


_LATER = "later"
_ALWAYS = object()


def later(default: T) -> T:
    """A dataclass field that came after values had been stored: while it holds `default`, it is no part of digests.

    So what does not use it keeps its name: quarantines, promoted values and names in logs outlive an upgrade.
    """
    made: Any = dataclasses.field(default=default, metadata={_LATER: True})
    return made  # type: ignore[no-any-return]


def digest(value: object) -> str:
    """The name of `value` by content: equal values have equal digests, on every machine and Python.

    Takes dataclasses, enums, mappings, sequences, instants and JSON scalars; raises `TypeError` for the rest.
    """
    encoded = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(encoded.encode())


def digest_bytes(body: bytes) -> str:
    """The digest of a serialised artefact."""
    return hashlib.sha256(body).hexdigest()[:DIGEST_LENGTH]


def _plain(value: object) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {
            name: _plain(held)
            for name, unless in _compared_fields(type(value))
            if (held := getattr(value, name)) != unless
        }
        plain["$"] = type(value).__name__
        return plain
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no content digest for {type(value).__name__}")


@functools.cache
def _compared_fields(cls: type) -> tuple[tuple[str, object], ...]:
    """Each field with the value at which it is left out; nothing equals `_ALWAYS`."""
    return tuple(
        (field.name, field.default if _LATER in field.metadata else _ALWAYS)
        for field in dataclasses.fields(cls)
        if field.compare
    )
