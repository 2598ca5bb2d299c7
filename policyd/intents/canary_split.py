"""`kind: CanarySplit`: how every change of a service's `version` is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from policyd.intents.http import HeaderName, HeaderValue
from policyd.intents.kind import Intent, Many, Part
from policyd.intents.units import Milliseconds, Reference, Step, Time


class First(Part):
    """These callers before anyone else."""

    header: Annotated[Mapping[HeaderName, HeaderValue], Field(min_length=1, max_length=1)]
    """One request header and its exact value, for example `{x-canary: "yes"}`."""


class CanarySplitSpec(Part):
    """The way from the version that serves to the one that should."""

    service: Reference
    """The service, in the split's own namespace."""
    first: First | None = None
    """Callers who get the new version from the first step on, whatever the weights."""
    steps: Annotated[Many[Step], Field(min_length=1, max_length=50, examples=[[5, 25, 50, 100]])]
    """Per cent of requests that the new version gets, one step after the other, rising."""
    hold: Milliseconds
    """The least time at each step, for example `60s`."""
    gates: Many[Reference] = ()
    """The SLOs that must hold for the next step, for example `checkout-availability`."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The least number of requests that the new version must have answered at a step."""
    on_failure: Literal["abort", "hold"] = "abort"
    """What a burning gate does: `abort` goes back to the stable version at once."""
    on_inconclusive: Literal["abort", "hold", "promote"] = "abort"
    """What happens when `deadline` passes without a verdict."""
    deadline: Time = 1_800_000
    """How long a step may wait for a verdict, for example `30m`."""
    max_refused: Annotated[int, Field(ge=0, le=100_000)] = 0
    """How many proxies may refuse a change before it goes back. Those that did keep what they had, as `degraded`."""


class CanarySplit(Intent):
    """A standing rule: how every change of a service's `version` is taken, step by step, behind gates."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["CanarySplit"]
    spec: CanarySplitSpec
