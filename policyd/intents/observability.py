"""`observability` of the `Mesh`: what sidecars tell others about the calls that they carry."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from policyd.intents.kind import Part
from policyd.intents.units import Label, share_bp


def sampling_bp(value: object) -> int:
    """Read a share of requests, `0%` to `100%`, as basis points. Raises `unreadable`."""
    return 0 if value == "0%" else share_bp(value)


class Tracing(Part):
    """Spans of every sampled call, one chain through all services that pass `traceparent` on (W3C Trace Context)."""

    otlp: Label
    """The collector that spans are sent to by OTLP over gRPC: a name in the controller's settings (`collectors`)."""
    sampling: Annotated[
        int,
        PlainValidator(sampling_bp),
        WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"}),
    ] = 100
    """The share of calls that begin a trace, `1%` unless you say otherwise; callees follow the caller's choice."""


class Observability(Part):
    """What sidecars tell besides their access logs and counters."""

    tracing: Tracing | None = None
    """No spans unless it is given."""
