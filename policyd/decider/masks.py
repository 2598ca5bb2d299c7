"""What a decision log must not hold: parts that are erased from an event, and events that are not written at all.

Both name places by JSON pointer (RFC 6901) under `/input` or `/result`, as OPA's mask rules do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ROOTS = ("input", "result")


class PointerError(ValueError):
    """Not a JSON pointer into an event; the message is in the user's words."""


class Pointer:
    """A place in an event."""

    __slots__ = ("keys", "text")

    def __init__(self, text: str) -> None:
        """Raises `PointerError` for what is no pointer under `/input` or `/result`."""
        head, *keys = text.split("/")
        if head or not keys or keys[0] not in ROOTS:
            raise PointerError(f"`{text}` is not a JSON pointer under `/input` or `/result`")
        self.text = text
        self.keys = tuple(key.replace("~1", "/").replace("~0", "~") for key in keys)

    def found(self, event: Any) -> Any:
        """What is there. Raises `LookupError` where nothing is."""
        for key in self.keys:
            event = event[_step(event, key)]
        return event


def _step(value: Any, key: str) -> Any:
    """The key or index that leads on from `value`. Raises `LookupError`."""
    if isinstance(value, dict):
        return key
    if isinstance(value, list) and key.isascii() and key.isdigit():
        return int(key)
    raise LookupError(key)


class Masks:
    """Which parts are erased, and which events are dropped.

    `drops` are conditions: an event is dropped where all places of one of them hold the values that it names.
    """

    def __init__(self, erase: Iterable[str] = (), drops: Iterable[Mapping[str, Any]] = ()) -> None:
        self._erase = tuple(Pointer(text) for text in erase)
        self._drops = tuple(tuple((Pointer(text), value) for text, value in drop.items()) for drop in drops)

    def dropped(self, event: Mapping[str, Any]) -> bool:
        """Whether the event is not to be written."""
        return any(drop and all(_holds(event, pointer, value) for pointer, value in drop) for drop in self._drops)

    def erased(self, event: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The event without what is to be erased, and the places that were. What it was made of is not touched."""
        places: list[str] = []
        for pointer in self._erase:
            try:
                pointer.found(event)
            except LookupError:
                continue
            event = _without(event, pointer.keys)
            places.append(pointer.text)
        return event, places


def _holds(event: Mapping[str, Any], pointer: Pointer, value: Any) -> bool:
    try:
        found = pointer.found(event)
    except LookupError:
        return False
    return type(found) is type(value) and bool(found == value)


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    """A copy of `value`, as deep as `keys` lead, without what is at their end."""
    step = _step(value, keys[0])
    copy = value.copy()
    if len(keys) == 1:
        del copy[step]
    else:
        copy[step] = _without(copy[step], keys[1:])
    return copy
