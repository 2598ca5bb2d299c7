"""Whether the store has been lost: nothing is promoted, and proxies run something all the same.

    delivery (who holds what nobody here has given him) -> doubt -> heads (serve, or hold)

A store that is new and one that was lost look alike. What tells them apart is what others remember: the sets that
proxies have acknowledged, on disk, and the versions that they report when they return. A mesh that is served first is
therefore on trial until every proxy has had the time to return: one that then says that it holds something else shows
that the store was lost, and the mesh is taken for promoted no more. Until a person has said what is promoted, nothing
is sent.
"""

from __future__ import annotations

from policyd.base.clock import Clock
from policyd.rollout.book import Book
from policyd.rollout.ports import Delivery

TRIAL_S = 60.0
"""How long the first mesh is on trial. Envoy asks a server that was away again within 30 s."""


class Doubt:
    """About the store behind `book`. Strangers are sent nothing for as long as there is any."""

    def __init__(self, book: Book, delivery: Delivery, clock: Clock) -> None:
        self._book = book
        self._delivery = delivery
        self._clock = clock
        self._trial_ends: float | None = None
        delivery.withhold(book.promoted is None)

    @property
    def lost(self) -> bool:
        """Whether nothing may be sent before a person has said what is promoted."""
        return self._book.promoted is None and (self._book.lost or bool(self._delivery.holders()))

    def begin_trial(self) -> None:
        """A first mesh is served, and nobody has objected yet."""
        self._trial_ends = self._clock.monotonic() + TRIAL_S

    def refuted(self) -> bool:
        """Whether a proxy has shown that the mesh on trial is not the first one. Ends the trial when it is time."""
        if self._trial_ends is None:
            return False
        if self._delivery.holders():
            self._trial_ends = None
            return True
        if self._clock.monotonic() >= self._trial_ends:
            self.over()
        return False

    def over(self) -> None:
        """What is promoted is known: from now on every proxy gets what it should run."""
        self._trial_ends = None
        self._delivery.withhold(False)
