"""How often observed rules would have decided otherwise, by service: for people, never for a decision."""

from __future__ import annotations

from collections import Counter

from policyd.model.node import service_of
from policyd.telemetry.counters import Tick

Outcome = tuple[str, str]
"""A service, as `namespace/name`, and `would-allow` or `would-deny`."""


class Observed:
    """Adds ticks up: totals since the controller began to read, which no restart of a proxy takes back."""

    def __init__(self) -> None:
        self.totals: Counter[Outcome] = Counter()

    def add(self, tick: Tick) -> None:
        """Take one more tick."""
        for node, seen in tick.nodes.items():
            service = service_of(node)
            for difference, count in seen.would.items() if service is not None else ():
                self.totals[str(service), difference.partition(" ")[0]] += count
