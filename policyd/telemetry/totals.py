"""Adds up what every edge did since the controller began: for Prometheus, which works rates out itself.

No restart of a proxy takes anything back. As many edges as fit have series of their own; what comes after them is
added up as one, so that a mesh cannot fill the memory of whoever scrapes.
"""

from __future__ import annotations

from policyd.telemetry.counters import Outcomes, Tick
from policyd.telemetry.edges import Way, ways_of
from policyd.telemetry.windows import together

LARGEST = 2_000
"""Edges (by version) with series of their own; each has about twenty."""
EdgeLabels = tuple[str, str, str]
"""Source and destination (`namespace/name`), and the destination's version."""
OTHERS: EdgeLabels = ("other", "other", "other")


class EdgeTotals:
    """Totals by edge; they only grow."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self.totals: dict[EdgeLabels, Outcomes] = {}

    def add(self, tick: Tick) -> None:
        """Take one more tick."""
        for way, outcomes in ways_of(tick).items():
            labels = self._labels(way)
            self.totals[labels] = together((self.totals.get(labels, Outcomes()), outcomes))

    def _labels(self, way: Way) -> EdgeLabels:
        labels = (str(way[0]), str(way[1]), way[2])
        return labels if labels in self.totals or len(self.totals) < self._largest else OTHERS
