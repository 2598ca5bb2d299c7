"""Content-addressed memory for compilers: what has been compiled once is never compiled again.

Keys are made of content digests, so an entry can be missing but never stale; whoever calls the compiler owns the
memo and decides how long it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Same(Generic[T]):
    """A key that is equal only for the very same object, which it keeps alive: for values without a digest."""

    value: T

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(slots=True)
class _Entry:
    value: object
    parts: list[Hashable] = field(default_factory=list)
    """Keys of what this value was made from: they live as long as it does."""


class Memo:
    """Remembers what `build` made for a key. `builds` counts the resources that were really compiled.

    Two generations bound its size: `age()` forgets what was not asked for since the call before the last one,
    directly or as a part of something that was. One memo serves one thread.
    """

    def __init__(self) -> None:
        self._young: dict[Hashable, _Entry] = {}
        self._old: dict[Hashable, _Entry] = {}
        self._open: list[_Entry] = []
        self.builds = 0

    def get(self, key: Hashable, build: Callable[[], T], *, counted: bool = True) -> T:
        """The value for `key`, made by `build` if it is not known. `key` must name all that `build` reads.

        `counted=False` is for what is not a resource but a step on the way to one.
        """
        entry = self._young.get(key)
        if entry is None:
            entry = self._carry_over(key) or self._build(key, build, counted=counted)
        if self._open:
            self._open[-1].parts.append(key)
        return cast("T", entry.value)

    def age(self) -> None:
        """Begin a new generation; call it once for each whole compilation of the mesh."""
        self._old, self._young = self._young, {}

    def _build(self, key: Hashable, build: Callable[[], object], *, counted: bool) -> _Entry:
        entry = _Entry(None)
        self._open.append(entry)
        try:
            entry.value = build()
        finally:
            self._open.pop()
        self._young[key] = entry
        self.builds += counted
        return entry

    def _carry_over(self, key: Hashable) -> _Entry | None:
        found = self._old.get(key)
        waiting = [key] if found is not None else []
        while waiting:
            known = waiting.pop()
            entry = self._old.get(known)
            if entry is not None and known not in self._young:
                self._young[known] = entry
                waiting.extend(entry.parts)
        return found
