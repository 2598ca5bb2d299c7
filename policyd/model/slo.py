"""Service level objectives, in the shape that gates and reports need (OpenSLO is the file format)."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.model.names import Name


@dataclass(frozen=True, slots=True)
class Availability:
    """Good = an answer below 500, measured at the caller after retries."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Good = an answer within `threshold_ms`."""

    threshold_ms: int


@dataclass(frozen=True, slots=True)
class External:
    """Measured by a query to another metric source; cannot gate a release until that source is configured."""

    source: str
    good: str
    total: str


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """Alert when the error budget burns `factor` times too fast over both windows.

    Source: Google SRE Workbook, chapter 5, "multiwindow, multi-burn-rate alerts".
    """

    name: str
    factor: float
    long_s: int
    short_s: int


@dataclass(frozen=True, slots=True)
class Slo:
    """A promise about a service: `objective` (0 < objective < 1) of events are good over `window_s`."""

    name: Name
    service: Name
    objective: float
    window_s: int
    indicator: Availability | Latency | External
    alerts: tuple[BurnAlert, ...] = ()

    @property
    def budget(self) -> float:
        """The share of events that may be bad: `1 - objective`."""
        return 1.0 - self.objective
