"""What the controller says about itself: one value for `policyd status`, `/v1/status` and `/readyz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from policyd.telemetry.rates import Rate


@dataclass(frozen=True, slots=True)
class Status:
    """A picture of this instant. `settled`: every change that Git asks for is promoted."""

    head: str
    """The last commit that was taken; empty before the first."""
    serving: bool
    """Whether some mesh is live."""
    settled: bool
    nodes: int
    connected: int
    degraded: Mapping[str, str]
    """Nodes that refused what they should run, and what they said."""
    diverged: tuple[str, ...]
    """What Git asks for and does not get, with the reason."""
    stalled: str
    """Why nothing moves forward; empty if all is well."""
    rates: tuple[Rate, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The status as plain JSON values."""
        plain = asdict(self)
        plain["rates"] = [
            {**rate, "service": str(line.service)} for rate, line in zip(plain["rates"], self.rates, strict=True)
        ]
        return plain
