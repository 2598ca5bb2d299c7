"""`kind: Service`: what callers may rely on, where the instances are, and which version should serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.failover import Fallback
from policyd.intents.health import HealthCheck
from policyd.intents.kind import Intent, Many, Part
from policyd.intents.rate_limit import RateLimit
from policyd.intents.resilience import Resilience
from policyd.intents.units import (
    Address,
    AppAddress,
    Label,
    Objective,
    Port,
    Reference,
    Time,
    shown,
    unreadable,
)

_PERCENTILE = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,3})?")


def _percentile(value: object) -> str:
    if isinstance(value, str) and _PERCENTILE.fullmatch(value) and 0 < float(value) < 100:
        return value
    raise unreadable(
        f"`{shown(value)}` is not a percentile", hint="for example `latency: {99: 300ms}`", code="PD1109"
    )


Percentile = Annotated[str, PlainValidator(_percentile), WithJsonSchema({"type": "string"})]


class Endpoint(Part):
    """One instance."""

    address: Address
    """The address of the instance's sidecar, which other sidecars call with mutual TLS."""
    zone: Label | None = None
    """Where it runs, for callers that prefer their own zone."""
    app: AppAddress | None = None
    """Where the application itself listens, on loopback: `127.0.0.1:9000`. By default the service's port on
    127.0.0.1, or on the instance's own address where that is a loopback address."""


def _endpoint(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


class Version(Part):
    """One version of a service."""

    endpoints: Many[Annotated[Endpoint, BeforeValidator(_endpoint, json_schema_input_type=str | Endpoint)]]
    """The instances of this version: addresses, or `{address, zone, app}`. An empty list is a version without
    instances."""


class ShortSlo(Part):
    """Service level objectives in one line; they become OpenSLO objects."""

    availability: Objective | None = None
    """Per cent of requests that are answered below 500; becomes the SLO `<service>-availability`."""
    latency: Mapping[Percentile, Time] = Field(default_factory=dict)
    """Per cent of requests that are answered within a time: `{99: 300ms}` becomes `<service>-latency-99`."""
    window: Time = 2_592_000_000
    """The rolling window over which the objectives hold, for example `30d`."""

    @model_validator(mode="after")
    def _promises_something(self) -> ShortSlo:
        if self.availability is None and not self.latency:
            raise unreadable(
                "`slo` promises nothing",
                hint="for example `slo: {availability: 99.9, latency: {99: 300ms}}`",
                code="PD1104",
            )
        return self


class ServiceSpec(Part):
    """The service."""

    port: Annotated[int, Field(ge=1, le=65_535)]
    """The port that callers name (`http://checkout:8080`, or just `http://checkout`) and that instances listen on."""
    protocol: Literal["http", "http2", "grpc", "tcp"] = "http"
    """What the service speaks. `tcp` is everything that is not HTTP: callers connect to `127.0.0.1` at the same
    port."""
    versions: Annotated[Mapping[Label, Version], Field(min_length=1)]
    """Every version that has instances, by name."""
    version: Label
    """The version that should serve. Changing this line is a release; reverting it is the way back."""
    health_check: HealthCheck | None = None
    """How callers find out that an instance cannot serve."""
    slo: ShortSlo | None = None
    """What callers may rely on, in short form."""
    resilience: Resilience = Resilience()
    """How a call to the service is bounded and tried again."""
    rate_limit: Many[RateLimit] = ()
    """How many requests each instance takes in a time. A request falls under every limit that it fits."""
    failover: Annotated[Many[Fallback], Field(max_length=10)] = ()
    """Where calls go on while every instance of the version that they are for is down, in this order:
    `[{version: v1}, {service: payments-backup}, {zone: other}]`. They come back by themselves."""
    opaque_paths: bool = False
    """For object stores and registries, whose paths carry `%2F`: paths are not judged, and access rules cannot
    name any."""
    local_ports: Mapping[Reference, Port] = Field(default_factory=dict)
    """Where its own applications find the `tcp` services that they connect to, on loopback: `{pay/ledger: 15432}`. At
    the port of each service unless you say so, which two of them may have in common."""
    upgrades: Many[Literal["websocket"]] = ()
    """Protocols that a request may switch to, for example `[websocket]`. Every other upgrade, and CONNECT, is
    refused."""


class Service(Intent):
    """A service: its versions and instances, the version that should serve, what callers may rely on."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Service"]
    spec: ServiceSpec
