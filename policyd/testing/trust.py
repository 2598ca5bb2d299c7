"""`FakeTrust`: the sibling of the wallet that has no certificates, only the names of roots that proxies trust."""

from __future__ import annotations

from collections.abc import Callable, Collection


class FakeTrust:
    """`trusted` is what proxies are given; `exchanged` is called whenever a root is taken out of that."""

    def __init__(self, *trusted: str, exchanged: Callable[[], None] = lambda: None) -> None:
        self.trusted = set(trusted)
        self.exchanged = exchanged
        self._dropped: set[str] = set()

    @property
    def dropped(self) -> tuple[str, ...]:
        """What was taken out, sorted."""
        return tuple(sorted(self._dropped))

    def distrust(self, roots: Collection[str]) -> bool:
        """Take these out; whether any was in."""
        gone = self.trusted & set(roots)
        self.trusted -= gone
        self._dropped |= gone
        if gone:
            self.exchanged()
        return bool(gone)

    def readmit(self, roots: Collection[str]) -> None:
        """Forget that these were distrusted."""
        self._dropped -= set(roots)
