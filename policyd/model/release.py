"""How changes are taken: canaries of a service's version, waves over proxies. Never part of a proxy's config."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from policyd.model.names import Name
from policyd.model.service import WHOLE, HeaderMatch


class OnFailure(enum.Enum):
    """What a failed gate does."""

    ABORT = "abort"
    HOLD = "hold"


class OnInconclusive(enum.Enum):
    """What happens when the deadline passes without a verdict."""

    ABORT = "abort"
    HOLD = "hold"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """How every change of one service's version is taken. Steps are basis points of requests, rising.

    `max_refused` is how many proxies may refuse a change that goes on all the same; here and in `Strategy`.
    """

    name: Name
    service: Name
    steps: tuple[int, ...]
    hold_s: float
    gates: tuple[Name, ...] = ()
    first: HeaderMatch | None = None
    min_requests: int = 50
    on_failure: OnFailure = OnFailure.ABORT
    on_inconclusive: OnInconclusive = OnInconclusive.ABORT
    deadline_s: float = 1_800.0
    max_refused: int = 0


@dataclass(frozen=True, slots=True)
class Wave:
    """A share of the proxies of each touched service: `count` instances or `share` basis points (at least one)."""

    count: int = 0
    share: int = 0


@dataclass(frozen=True, slots=True)
class Strategy:
    """Waves over proxies for every change that is not a canary. `gates` empty = the SLOs of touched services."""

    name: Name
    waves: tuple[Wave, ...]
    hold_s: float
    gates: tuple[Name, ...] = ()
    on_failure: OnFailure = OnFailure.ABORT
    on_inconclusive: OnInconclusive = OnInconclusive.ABORT
    deadline_s: float = 1_800.0
    max_refused: int = 0


IMMEDIATE = Strategy(Name("", "immediate"), (Wave(share=WHOLE),), hold_s=0.0)
"""Everywhere at once, no analysis. Chosen by name, never by omission."""

DEFAULT_STRATEGY = Strategy(Name("", "default"), (Wave(count=1), Wave(share=2_500), Wave(share=WHOLE)), hold_s=60.0)
"""What a mesh without a strategy of its own gets: one instance per service, a quarter, everything."""
