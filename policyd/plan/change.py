"""The unit of release is a change, not a commit.

A change is one unit of the mesh with a value before and after: a service (its versions, split, resilience), the
access of one destination, or the settings. It is named by the digests of both values, so that the same content is
the same change whichever commit brought it, and a quarantine holds until the content changes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from policyd.base.content import digest
from policyd.model.access import Access
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.service import Service


class Unit(enum.Enum):
    """What kind of thing a change is about."""

    SETTINGS = "settings"
    SERVICE = "service"
    ACCESS = "access"


@dataclass(frozen=True, slots=True)
class Change:
    """One unit, before and after; `None` where it does not exist.

    `needs` are the units that the target needs to be there (a rule's services); the change is blocked while
    one of them is quarantined or not promoted yet.
    """

    unit: Unit
    name: Name
    base: Service | Access | Settings | None
    target: Service | Access | Settings | None
    needs: tuple[tuple[Unit, Name], ...] = ()

    @property
    def id(self) -> str:
        """`unit:namespace/name@base..target`, by content."""
        return f"{self.unit.value}:{self.name}@{digest(self.base)[:8]}..{digest(self.target)[:8]}"

    @property
    def key(self) -> tuple[Unit, Name]:
        """What the change is about, without its content; one change per key can be in flight."""
        return (self.unit, self.name)


@dataclass(frozen=True, slots=True)
class WeightStage:
    """The new version gets `weight` basis points of every caller's requests (0 with `first` alone)."""

    weight: int
    first_only: bool = False


@dataclass(frozen=True, slots=True)
class WaveStage:
    """The target is on `count` instances, or `share` basis points, of each touched service."""

    count: int = 0
    share: int = 0


Stage = WeightStage | WaveStage


@dataclass(frozen=True, slots=True)
class Position:
    """How far a change in flight has come; `stage` None = everything runs the base."""

    change: Change
    stage: Stage | None
