"""Tracing: how many calls begin a trace, and which collector their spans go to."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.base.content import later


@dataclass(frozen=True, slots=True)
class Collector:
    """Where a collector listens: a fact from the controller's settings."""

    address: str
    """`host:port`"""
    roots: str = ""
    """The name of the roots that its certificate comes from; empty: it is spoken to in the clear."""
    named: str = ""
    """What its certificate names."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """`collector` is a name; Git never says how it is reached."""

    collector: str
    sampling_bp: int
    """Of the requests that come without a trace, in basis points."""
    at: Collector | None = later(None)
    """Where the collector is, as far as that is known. Without it no spans are made."""
