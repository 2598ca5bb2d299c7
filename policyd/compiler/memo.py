"""Content-addressed memory for compilers: what has been compiled once is never compiled again.

Keys are made of content digests, so an entry can be missing but never stale; whoever calls the compiler owns the
memo and decides how long it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

T = TypeVar("T")

GROWTH = 1.25
"""By how much a memo may grow before it looks for what nobody asks for any more."""
SMALL = 512
"""A memo of fewer values never looks."""


class Same(Generic[T]):
    """A key that is equal only for the very same object, which it keeps alive: for values without a digest."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(slots=True, eq=False)
class _Entry:
    value: object
    seen: int
    """The generation that asked for it last."""
    parts: list[_Entry] = field(default_factory=list)
    """What this value was made from: it lives as long as this does."""


class Memo:
    """Remembers what `build` made for a key. `builds` counts the resources that were really compiled.

    Its size is bounded by what is in use: `age()` forgets what was not asked for since it last forgot, neither
    directly nor as a part of something that was. One memo serves one thread.
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._open: list[_Entry] = []
        self._generation = 0
        self._limit = SMALL
        self.builds = 0

    def get(self, key: Hashable, build: Callable[[], T], *, counted: bool = True) -> T:
        """The value for `key`, made by `build` if it is not known. `key` must name all that `build` reads.

        `counted=False` is for what is not a resource but a step on the way to one.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._build(build)
            self.builds += counted
        elif entry.seen != self._generation:
            self._touch(entry)
        if self._open:
            self._open[-1].parts.append(entry)
        return cast("T", entry.value)

    @property
    def size(self) -> int:
        """How many values are remembered."""
        return len(self._entries)

    def age(self) -> None:
        """Forget, when the memo has grown by a quarter; call it before each whole compilation of the mesh.

        So the price of looking is spread over the changes that made it grow.
        """
        if len(self._entries) <= self._limit:
            return
        dead = [key for key, entry in self._entries.items() if entry.seen < self._generation]
        for key in dead:
            del self._entries[key]
        self._limit = max(SMALL, int(len(self._entries) * GROWTH))
        self._generation += 1

    def _build(self, build: Callable[[], object]) -> _Entry:
        entry = _Entry(None, self._generation)
        self._open.append(entry)
        try:
            entry.value = build()
        finally:
            self._open.pop()
        return entry

    def _touch(self, entry: _Entry) -> None:
        """Keep an entry and all its parts for this generation."""
        waiting = [entry]
        while waiting:
            found = waiting.pop()
            if found.seen != self._generation:
                found.seen = self._generation
                waiting.extend(found.parts)
