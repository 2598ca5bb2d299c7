"""Which instance of a version a call goes to. Everything is explicit: no proxy default applies."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Policy(enum.Enum):
    """How an instance is chosen."""

    LEAST_REQUEST = "leastRequest"
    ROUND_ROBIN = "roundRobin"
    RANDOM = "random"
    RING_HASH = "ringHash"
    MAGLEV = "maglev"


BY_KEY = frozenset({Policy.RING_HASH, Policy.MAGLEV})
"""What has one key goes to one instance."""
EVENLY = 1_000
"""The aggression with which a share grows at one pace, in thousandths."""


@dataclass(frozen=True, slots=True)
class Key:
    """The value of one request header (lower case) or of one cookie; the other is empty."""

    header: str = ""
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class ZonePreference:
    """Prefer the caller's zone where it has `min_instances`; below `min_healthy` (basis points) calls overflow."""

    min_instances: int
    min_healthy: int


@dataclass(frozen=True, slots=True)
class SlowStart:
    """How long a new instance takes to its whole share, and how fast it grows at first (thousandths)."""

    window_ms: int
    aggression: int = EVENLY


@dataclass(frozen=True, slots=True)
class LoadBalancing:
    """`key` is set where `policy` is one of `BY_KEY`; `ring` (least and most places) and `table` hold for those."""

    policy: Policy = Policy.LEAST_REQUEST
    key: Key | None = None
    ring: tuple[int, int] = (1_024, 65_536)
    table: int = 65_537
    zone: ZonePreference | None = None
    slow_start: SlowStart | None = None
