"""`kind: RolloutStrategy`: how changes reach the proxies, wave after wave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from policyd.intents.kind import Intent, Many, OneOrMany, Part
from policyd.intents.units import Milliseconds, Reference, Time, share_bp, shown, unreadable

TOUCHED = "touched"


def _proxies(value: object) -> tuple[int, int]:
    if isinstance(value, str) and value.endswith("%"):
        return 0, share_bp(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 100_000:
        return value, 0
    raise unreadable(f"`{shown(value)}` is not a number of proxies", hint="write a count `1`, or a share `20%`")


Proxies = Annotated[
    tuple[int, int],
    PlainValidator(_proxies),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"}]}
    ),
]
"""Count and basis points; one of them is 0."""


class Wave(Part):
    """One wave."""

    proxies: Proxies
    """How many proxies of each touched service have the change after this wave: a count `1`, or a share `20%`."""


class RolloutStrategySpec(Part):
    """The waves."""

    waves: Annotated[Many[Wave], Field(min_length=1, max_length=50)]
    """One after the other, for example `[{proxies: 1}, {proxies: 20%}, {proxies: 100%}]`."""
    hold: Milliseconds
    """The least time at each wave, for example `30s`."""
    gates: OneOrMany[Reference] = (TOUCHED,)
    """`touched`, the SLOs of every service whose proxies change, or a list of SLOs."""
    on_failure: Literal["abort", "hold"] = "abort"
    """What a burning gate does: `abort` returns every proxy to where the change began."""
    on_inconclusive: Literal["abort", "hold", "promote"] = "abort"
    """What happens when `deadline` passes without a verdict."""
    deadline: Time = 1_800_000
    """How long a wave may wait for a verdict, for example `30m`."""
    max_refused: Annotated[int, Field(ge=0, le=100_000)] = 0
    """How many proxies may refuse a change before it goes back. Those that did keep what they had, as `degraded`."""


class RolloutStrategy(Intent):
    """How a change that is not a canary reaches the proxies: wave after wave, behind gates."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["RolloutStrategy"]
    spec: RolloutStrategySpec
