"""Tracing: how many calls begin a trace, and which collector their spans go to."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.base.content import later


@dataclass(frozen=True, slots=True)
class Tracing:
    """`collector` is a name; Git never says how it is reached."""

    collector: str
    sampling_bp: int
    """Of the requests that come without a trace, in basis points."""
    address: str = later("")
    """`host:port` of the collector: a fact from the controller's settings. Without one no spans are made."""
