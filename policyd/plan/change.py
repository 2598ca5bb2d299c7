"""The unit of release is a change, not a commit.

A change is one unit of the mesh with a value before and after: a service (its split, protocol, resilience), the
access of one destination, or the settings. It is named by the digests of both values, so that the same content is
the same change whichever commit brought it, and a quarantine holds until the content changes. Where instances are
is a fact, not a decision: versions and endpoints take no part in a change or its name (see `plan.runtime`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from policyd.base.content import digest
from policyd.model.access import Access
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.service import HeaderMatch, Service

Value = Service | Access | Settings | None


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
    base: Value
    target: Value
    needs: tuple[tuple[Unit, Name], ...] = ()

    @property
    def id(self) -> str:
        """`unit:namespace/name@base..target`, by content."""
        return f"{self.unit.value}:{self.name}@{_content(self.base)}..{_content(self.target)}"

    @property
    def key(self) -> tuple[Unit, Name]:
        """What the change is about, without its content; one change per key can be in flight."""
        return (self.unit, self.name)


def _content(value: Value) -> str:
    decided = replace(value, versions=()) if isinstance(value, Service) else value
    return digest(decided)[:8]


@dataclass(frozen=True, slots=True)
class WeightStage:
    """The new version gets `weight` basis points of every caller's requests.

    Requests that match `first` get it whatever the weight; a weight of 0 with `first` is the stage of these alone.
    """

    weight: int
    first: HeaderMatch | None = None

    @property
    def first_only(self) -> bool:
        """Whether only the callers with the header get the new version."""
        return self.weight == 0 and self.first is not None


@dataclass(frozen=True, slots=True)
class WaveStage:
    """The target is on some instances of each touched service: `count`, or `share` basis points, what is more.

    Both never fall along the stages of a change, so that each wave contains the one before. `keeps_split`: all of
    the target but its split, which weight stages take over afterwards.
    """

    count: int = 0
    share: int = 0
    keeps_split: bool = False


Stage = WeightStage | WaveStage


@dataclass(frozen=True, slots=True)
class Position:
    """How far a change in flight has come; `stage` None = everything runs the base."""

    change: Change
    stage: Stage | None
