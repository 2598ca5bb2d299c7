"""What a stage has shown so far, and whether that lets a release go forward: enough requests, no burning SLO.

All counts are the stage's own: what an earlier stage showed is not held against, or in favour of, a later one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from policyd.rollout.way import Gate
from policyd.telemetry.buckets import slower_than
from policyd.telemetry.counters import Outcomes
from policyd.telemetry.windows import Stratum


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over the ticks of one stage. `events` are (all, bad) for each gate of the way, in its order."""

    watched_s: float = 0.0
    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    events: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Burn:
    """One gate's state: the share of bad events as a multiple of what its SLO allows."""

    gate: Gate
    events: int
    bad: int

    @property
    def share(self) -> float:
        """Bad events among all."""
        return self.bad / self.events if self.events else 0.0

    @property
    def rate(self) -> float:
        """How many times faster than allowed the budget is used up."""
        return self.share / self.gate.budget

    @property
    def excessive(self) -> bool:
        """Whether this keeps a release where it is."""
        return self.share > self.gate.tolerated

    @property
    def missing(self) -> int:
        """How many good events would bring the share down to what is tolerated."""
        return max(0, math.ceil(self.bad / self.gate.tolerated) - self.events) if self.gate.tolerated else 0


def tally(
    before: Tally,
    strata: Sequence[Stratum],
    outcomes: Sequence[Outcomes],
    gates: Sequence[Gate],
    watched_s: float,
) -> Tally:
    """The sums after one more tick."""
    fresh = (_events(gate, seen) for gate, seen in zip(gates, outcomes, strict=False))
    return Tally(
        watched_s=before.watched_s + watched_s,
        canary_requests=before.canary_requests + sum(s.canary.requests for s in strata),
        canary_errors=before.canary_errors + sum(s.canary.errors for s in strata),
        stable_requests=before.stable_requests + sum(s.stable.requests for s in strata),
        stable_errors=before.stable_errors + sum(s.stable.errors for s in strata),
        events=tuple(
            (old[0] + new[0], old[1] + new[1]) for old, new in zip_longest(before.events, fresh, fillvalue=(0, 0))
        ),
    )


def burns(seen: Tally, gates: Sequence[Gate]) -> tuple[Burn, ...]:
    """Every gate with what the stage has shown of it."""
    return tuple(
        Burn(gate, events, bad)
        for gate, (events, bad) in zip(gates, seen.events or ((0, 0),) * len(gates), strict=True)
    )


def worst(seen: Tally, gates: Sequence[Gate]) -> Burn | None:
    """The gate that burns fastest, `None` where there are no gates."""
    return max(burns(seen, gates), key=lambda burn: burn.rate, default=None)


def burning(seen: Tally, gates: Sequence[Gate]) -> Burn | None:
    """The fastest of those gates that keep the release where it is."""
    return max((burn for burn in burns(seen, gates) if burn.excessive), key=lambda burn: burn.rate, default=None)


def obstacle(seen: Tally, gates: Sequence[Gate], enough: int) -> str:
    """What keeps the release from going forward, in words; empty if nothing does."""
    if seen.canary_requests < enough:
        return f"{seen.canary_requests} of {enough} requests seen at this stage"
    burn = burning(seen, gates)
    if burn is not None:
        return (
            f"`{burn.gate.slo}` burns {burn.rate:.1f} times too fast: {burn.bad} of {burn.events} events bad, "
            f"{burn.gate.tolerated:.2%} are tolerated"
        )
    return ""


def needed(seen: Tally, gates: Sequence[Gate], enough: int, hold_s: float) -> tuple[int, float | None]:
    """Requests and seconds that a stage still needs; seconds are `None` while there is no traffic to tell from."""
    burn = burning(seen, gates)
    requests = max(0, enough - seen.canary_requests, burn.missing if burn is not None else 0)
    rest = max(0.0, hold_s - seen.watched_s)
    if not requests:
        return 0, rest
    if not seen.canary_requests or seen.watched_s <= 0:
        return requests, None
    return requests, max(rest, requests * seen.watched_s / seen.canary_requests)


def _events(gate: Gate, seen: Outcomes) -> tuple[int, int]:
    if not gate.threshold_ms:
        return seen.requests, seen.errors
    if seen.latency is None:
        return 0, 0
    return seen.latency.total, slower_than(seen.latency, gate.threshold_ms)
