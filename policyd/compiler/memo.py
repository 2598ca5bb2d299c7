"""Content-addressed memory for compilers: what has been compiled once is never compiled again.

Keys are made of content digests, so an entry can be missing but never stale; whoever calls the compiler owns the
memo and decides how long it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")


class Memo:
    """Remembers what `build` made for a key. `builds` counts the misses (what was really compiled).

    Two generations bound its size: `age()` forgets what was not asked for since the call before the last one.
    """

    def __init__(self) -> None:
        self._young: dict[Hashable, object] = {}
        self._old: dict[Hashable, object] = {}
        self.builds = 0

    def get(self, key: Hashable, build: Callable[[], T]) -> T:
        """The value for `key`, made by `build` if it is not known. `key` must name all that `build` reads."""
        if key in self._young:
            return cast("T", self._young[key])
        if key in self._old:
            value = cast("T", self._old[key])
        else:
            value = build()
            self.builds += 1
        self._young[key] = value
        return value

    def age(self) -> None:
        """Begin a new generation; call it once for each whole compilation of the mesh."""
        self._old, self._young = self._young, {}
