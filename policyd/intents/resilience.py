"""`spec.resilience` of a service: how a call to it is bounded, tried again, spread and kept from what fails."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.balancing import LoadBalancing, Threshold
from policyd.intents.http import Method
from policyd.intents.kind import Many, Part
from policyd.intents.units import Share, Time, shown, unreadable

_STATUS = re.compile(r"[45][0-9]{2}")
RETRY_CONDITIONS = ("connect-failure", "reset", "refused-stream", "gateway-error")
GRPC_STATUSES = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
"""How a gRPC call can end that may be worth another try."""


def _retry_condition(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and (text in (*RETRY_CONDITIONS, *GRPC_STATUSES) or _STATUS.fullmatch(text)):
        return text
    raise unreadable(
        f"`{shown(value)}` is not a reason to try again",
        hint="one of "
        + ", ".join(f"`{known}`" for known in RETRY_CONDITIONS)
        + ", or a status from 400 to 599; for gRPC also "
        + ", ".join(f"`{known}`" for known in GRPC_STATUSES),
        code="PD1106",
    )


RetryCondition = Annotated[
    str,
    PlainValidator(_retry_condition),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*RETRY_CONDITIONS, *GRPC_STATUSES]},
                {"type": "integer", "minimum": 400, "maximum": 599},
            ]
        }
    ),
]
Bound = Annotated[int, Field(ge=1, le=1_000_000)]
"""Some of something at once; a million is more than one sidecar can have open."""
Row = Annotated[int, Field(ge=1, le=1_000)]
"""Events one after another."""


class Timeout(Part):
    """Bounds of a call."""

    request: Time = 15_000
    """The whole call, further tries included."""
    per_try: Time | None = None
    """Each try; only the whole call is bounded unless you say so."""
    connect: Time = 1_000
    """Opening a connection."""
    idle: Time = 300_000
    """A connection or stream without traffic."""
    stream: Time | None = None
    """A whole exchange, however long it is uploading, streaming or upgraded: for example `stream: 1h`. Not bounded
    unless you say so."""


class BackOff(Part):
    """How long to wait before a further try: a random time below a bound that doubles with each of them.

    For example `backOff: {base: 50ms, max: 1s}`.
    """

    base: Time = 25
    """The bound before the first further try."""
    max: Time = 250
    """The bound never grows beyond this."""


class Retry(Part):
    """When a failed call is made again."""

    attempts: Annotated[int, Field(ge=0, le=10)]
    """How many further tries."""
    on: Annotated[Many[RetryCondition], Field(min_length=1)] = ("connect-failure", "refused-stream")
    """What is tried again: `connect-failure`, `reset`, `refused-stream`, `gateway-error`, or a status such as 503.
    Calls of gRPC are answered 200 whatever became of them; there it is a status such as `unavailable`."""
    methods: Annotated[Many[Method], Field(min_length=1)] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
    """The methods that may be sent twice. With `protocol: grpc`, `on` says it: every call is a `POST`."""
    budget: Share = 2_000
    """The largest share of active calls that may be further tries, so that retries never make an outage worse."""
    back_off: BackOff = BackOff()
    """How long to wait before a further try."""


class SuccessRate(Part):
    """Instances whose share of good answers lies far below that of the others.

    For example `successRate: {deviations: 1.9, instances: 5, requests: 100}`.
    """

    deviations: Annotated[float, Field(gt=0, le=10, strict=False)] = 1.9
    """How many standard deviations below the mean is too far."""
    instances: Annotated[int, Field(ge=3, le=1_000)] = 5
    """The least number of instances that makes a comparison; with fewer, nobody is judged."""
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """The least number of requests to an instance between two looks."""


class CircuitBreaker(Part):
    """Bounds on what one caller's sidecar has open towards each version; beyond them it answers 503 at once.

    For example `circuitBreaker: {connections: 100, pending: 50, requests: 400}`. What is not named is not bounded.
    """

    connections: Bound | None = None
    """Connections at once."""
    pending: Bound | None = None
    """Requests that wait for a connection."""
    requests: Bound | None = None
    """Requests under way at once."""
    retries: Bound | None = None
    """Further tries under way at once, in place of the share that `retries.budget` names."""

    @model_validator(mode="after")
    def _bounds_something(self) -> CircuitBreaker:
        if not self.model_fields_set:
            raise unreadable(
                "`circuitBreaker` bounds nothing",
                hint="for example `circuitBreaker: {connections: 100, pending: 50, requests: 400}`",
                code="PD1104",
            )
        return self


class OutlierDetection(Part):
    """An instance that keeps failing gets no requests for a while, and then another chance.

    For example `outlierDetection: {consecutiveErrors: 5, baseTime: 30s, maxEjected: 50%}`. Each caller's sidecar
    judges by the answers that it got itself. An instance without an answer counts as one that answered 503.
    """

    consecutive_errors: Row | None = None
    """Answers from 500 up, one after another."""
    consecutive_gateway_errors: Row | None = None
    """Answers 502, 503 and 504, one after another: what an instance says that is not there, or not ready."""
    success_rate: SuccessRate | None = None
    """Compare the instances with each other."""
    interval: Time = 10_000
    """Time between two looks at success rates, and at whose time is up."""
    base_time: Time = 30_000
    """How long an instance is left out the first time; the second time twice as long, and so on."""
    max_time: Time = 300_000
    """The longest that an instance is left out."""
    max_ejected: Share = 5_000
    """The largest share of a version's instances that is left out at the same time, in whole per cents."""

    @model_validator(mode="after")
    def _looks_for_something(self) -> OutlierDetection:
        if self.consecutive_errors or self.consecutive_gateway_errors or self.success_rate:
            return self
        raise unreadable(
            "`outlierDetection` does not say which errors count",
            hint="for example `outlierDetection: {consecutiveErrors: 5}`",
            code="PD1104",
        )


class Resilience(Part):
    """How a call to the service is bounded and tried again."""

    timeout: Timeout = Timeout()
    """Bounds of a call."""
    retries: Retry | None = None
    """When a failed call is made again. Never, unless you say so."""
    circuit_breaker: CircuitBreaker | None = None
    """Bounds on what a caller has open at once. None, unless you say so."""
    outlier_detection: OutlierDetection | None = None
    """Leave out instances that keep failing. Nobody is left out, unless you say so."""
    load_balancing: LoadBalancing | None = None
    """Which instance a call goes to: the less busy one of two that are drawn, unless you say so."""
    panic_threshold: Threshold = 0
    """When a smaller share of a version's instances than this is healthy, calls go to all of them, healthy or not.
    With 0% nobody who is known to be unhealthy is ever called."""
