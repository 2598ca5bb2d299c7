"""Which proxies are there, and how long those that are away are waited for after a start.

`driver` takes waves of the proxies that are there, and no step forward before they had time to come back: a step
that reaches nobody would be acknowledged by everybody.
"""

from __future__ import annotations

from collections.abc import Callable

from policyd.base.clock import Clock
from policyd.rollout.ports import Delivery

RETURN_S = 10.0
"""How long after a start proxies may take to come back before those that are away stop counting for anything."""


class Attendance:
    """Who of `nodes()` is connected, since the controller started."""

    def __init__(
        self, delivery: Delivery, clock: Clock, nodes: Callable[[], tuple[str, ...]], *, fresh: bool
    ) -> None:
        """`fresh`: nothing was ever served, so nobody is expected back."""
        self._delivery = delivery
        self._clock = clock
        self._nodes = nodes
        self._started = clock.monotonic()
        self._returning = not fresh
        self._counted: frozenset[str] | None = None

    def connected(self) -> int:
        """How many of the nodes are there."""
        return len(self._delivery.connected().intersection(self._nodes()))

    @property
    def counted(self) -> frozenset[str] | None:
        """The nodes that shares of waves were last taken of; `None` = all."""
        return self._counted

    def count(self) -> frozenset[str] | None:
        """Take the shares of who is there now; of all, while proxies still come back after a start."""
        self._counted = self._countable()
        return self._counted

    def changed(self) -> bool:
        """Whether shares would be taken of other nodes now."""
        return self._countable() != self._counted

    def still_away(self) -> str:
        """Why no step forward may be taken yet after a start; empty from the moment it may, for good."""
        if self._returning:
            total = len(self._nodes())
            away = total - self.connected()
            self._returning = self._in_time() and (away > 0 or not total)
            if self._returning:
                return f"{away} of {total} proxies have not come back yet"
        return ""

    def _countable(self) -> frozenset[str] | None:
        connected = self._delivery.connected()
        return None if self._in_time() or not connected else connected

    def _in_time(self) -> bool:
        return self._clock.monotonic() - self._started < RETURN_S
