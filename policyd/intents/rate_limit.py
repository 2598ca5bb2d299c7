"""`spec.rateLimit` of a service: how many requests an instance takes, from everybody or from each caller."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policyd.intents.http import MethodOrAny
from policyd.intents.kind import Many, Part
from policyd.intents.units import Path, Time

Requests = Annotated[int, Field(ge=1, le=1_000_000)]
"""A million in a second is more than one instance can be asked."""


class RateLimit(Part):
    """So many requests in a time, to each instance; one too many is answered with 429.

    For example `{requests: 100, per: 1s}`, or `{requests: 5, per: 1m, each: caller, paths: [/v1/refunds]}`. A request
    counts against every limit that it falls under, once an access rule has let it in.
    """

    requests: Requests
    """How many requests, again and again, in the time that `per` names."""
    per: Time = 1_000
    """The time, from a second to a day."""
    burst: Requests | None = None
    """How many at once after a quiet time; as many as `requests` unless you say so."""
    each: Literal["caller"] | None = None
    """`caller`: each caller's identity has a limit of its own. Without it, all callers share one."""
    methods: Many[MethodOrAny] = ()
    """Only requests with these methods; all, unless you say so."""
    paths: Many[Path] = ()
    """Only requests to these paths, in the grammar of access rules; all, unless you say so."""
