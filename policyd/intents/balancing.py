"""`spec.resilience.loadBalancing` of a service: which instance a caller's sidecar sends a call to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.http import HeaderName
from policyd.intents.kind import Part
from policyd.intents.units import Share, Time, share_bp, unreadable

_LOOPBACK = "a sidecar sees every call come from loopback, so all of them would go to one instance: name a header"


def _threshold(value: object) -> int:
    """Read a share that may be none at all, as basis points."""
    return 0 if value == "0%" else share_bp(value)


Threshold = Annotated[
    int,
    PlainValidator(_threshold),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"}),
]
Places = Annotated[int, Field(ge=1, le=1_000_000)]
"""Places on a ring, or in a table."""


class Hash(Part):
    """What of a request decides which instance it goes to. A request without it goes to any instance.

    For example `hash: {header: x-user}` or `hash: {cookie: session}`.
    """

    unknown_hints: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("source", "sourceAddress", "sourceIp", "sourceIP", "useSourceIp", "connectionProperties"), _LOOPBACK
    )

    header: HeaderName | None = None
    """The value of this request header."""
    cookie: HeaderName | None = None
    """The value of this cookie, if the request has it; none is made."""

    @model_validator(mode="after")
    def _one_thing(self) -> Hash:
        if (self.header is None) == (self.cookie is None):
            raise unreadable(
                "`hash` names one thing of a request",
                hint="for example `hash: {header: x-user}` or `hash: {cookie: session}`",
                code="PD1111" if self.header else "PD1104",
            )
        return self


class RingSize(Part):
    """Places on the ring of `ringHash`, shared by the instances of a version. More places are a more even share."""

    min: Places = 1_024
    """At least so many places, however few instances there are."""
    max: Places = 65_536
    """At most so many, however many instances there are."""


class PreferZone(Part):
    """Callers send to the instances of their own zone, as long as there are enough healthy ones.

    For example `preferZone: {minInstances: 2, minHealthy: 70%}`. Who has no zone, or calls from one with fewer
    instances, prefers nobody.
    """

    min_instances: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Instances of a version that a zone must have to be preferred."""
    min_healthy: Share = 7_000
    """The share of them that must be healthy to take every call of the zone. Below it calls overflow to the other
    zones, the more the weaker the zone is."""


class SlowStart(Part):
    """An instance that has just come, or come back, gets its share of calls little by little.

    For example `slowStart: {window: 30s}`.
    """

    window: Time
    """How long it takes until an instance has its whole share."""
    aggression: Annotated[float, Field(ge=1, le=10, strict=False)] = 1.0
    """1 grows evenly; above, the share grows fast at first."""


class LoadBalancing(Part):
    """Which instance of a version a call goes to.

    For example `loadBalancing: {policy: ringHash, hash: {header: x-user}}`.
    """

    policy: Literal["leastRequest", "roundRobin", "random", "ringHash", "maglev"] = "leastRequest"
    """`leastRequest` takes the less busy one of two that are drawn; `roundRobin` one after the other; `random` any.
    `ringHash` and `maglev` send what has one `hash` to one instance: with a ring few keys move when instances come
    and go, with maglev the shares are more even."""
    hash: Hash | None = None
    """What `ringHash` and `maglev` go by."""
    ring_size: RingSize | None = None
    """The ring of `ringHash`."""
    table_size: Annotated[int, Field(ge=2, le=5_000_011)] | None = None
    """The places in the table of `maglev`, a prime number; 65537 unless you say so."""
    prefer_zone: PreferZone | None = None
    """Keep calls in the caller's zone. Zones make no difference, unless you say so."""
    slow_start: SlowStart | None = None
    """Let new instances warm up. They get their whole share at once, unless you say so."""
