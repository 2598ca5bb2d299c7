"""What a release looks like from outside: the value that the API, the command line and the demo show.

Records are made by the driver from its own state; nothing reads them back. Every field is JSON-able as it is.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any


class Phase(enum.StrEnum):
    """Where a release stands."""

    PENDING = "pending"
    """Seen, not begun."""
    WAITING = "waiting"
    """Blocked by another change; `blocked_by` says which."""
    PROGRESSING = "progressing"
    """On one of its stages, being watched."""
    PAUSED = "paused"
    """A person stopped the clock; the abort gate is still looked at."""
    PROMOTING = "promoting"
    """Every gate has passed; the target is being made the promoted value everywhere."""
    ABORTING = "aborting"
    """Every node is being taken back to the base."""
    ABORTED = "aborted"
    """Everything runs the base again. `quarantine` holds the reason where the content may not come back."""
    PROMOTED = "promoted"
    """The change is everywhere."""
    SUPERSEDED = "superseded"
    """Git asked for something else before it was done."""

    @property
    def in_flight(self) -> bool:
        """Whether some node may be running the target while others run the base."""
        return self in {Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING, Phase.ABORTING}

    @property
    def over(self) -> bool:
        """Whether nothing more happens to this release."""
        return self in {Phase.ABORTED, Phase.PROMOTED, Phase.SUPERSEDED}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why the last decision was taken: raw counts of the stage so far, and what was made of them.

    `e_value` is the sequential test's (abort at `e_limit`); `burn` is how many times faster than allowed the
    canary uses up the tightest of its SLOs (0 without traffic), named by `slo`. `requests_needed` and
    `seconds_needed` say what a hold still waits for; `seconds_needed` is `None` while nothing can be foreseen.
    """

    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    e_value: float = 1.0
    e_limit: float = 100.0
    slo: str = ""
    burn: float = 0.0
    ran_s: float = 0.0
    requests_needed: int = 0
    seconds_needed: float | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """One release, as people see it. Instants are ISO 8601, UTC; weights are basis points."""

    id: str
    """Names this try of the change: `r` and a number that rises."""
    change_id: str
    unit: str
    """`service`, `access` or `settings`."""
    name: str
    """What is changed: `namespace/name`."""
    title: str
    """One line for people: `checkout v1 -> v2`."""
    commit: str
    author: str
    phase: Phase
    stage: int
    """Index of the current stage, from 1; 0 before the first."""
    stages: int
    stage_text: str
    """`5 %`, `1 instance of each service`, or what the phase is called."""
    weights: dict[str, int]
    """Version to basis points, for a change that moves weights; else empty."""
    since: str
    """When the phase or stage was entered."""
    began: str
    verdict: str
    """The last decision: `continue`, `promote`, `abort` or `hold`; empty before the first."""
    reason: str
    """Why, in words."""
    evidence: Evidence
    needs: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    quarantine: str = ""
    """Why this content may not be served again; empty when it may."""
    known_good: bool = False

    def as_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)
