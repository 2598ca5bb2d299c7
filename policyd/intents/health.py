"""`spec.healthCheck` of a service: how callers find out that an instance cannot serve."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.kind import Part
from policyd.intents.units import Path, Time, shown, unreadable

_KINDS = "`healthCheck: {path: /healthz}`, `{grpc: {}}` or `{tcp: {}}`"
_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


def _grpc_service(value: object) -> str:
    """Read the full name of a gRPC service. Source: the Protocol Buffers language, `fullIdent`."""
    if isinstance(value, str) and len(value) <= 120 and _SERVICE.fullmatch(value):
        return value
    raise unreadable(
        f"`{shown(value)}` is not the name of a gRPC service", hint="for example `pay.v1.Payments`", code="PD1107"
    )


GrpcService = Annotated[str, PlainValidator(_grpc_service), WithJsonSchema({"type": "string"})]


class GrpcCheck(Part):
    """A call of `grpc.health.v1.Health/Check`, which must say `SERVING`.

    For example `healthCheck: {grpc: {service: pay.v1.Payments}}`.
    """

    service: GrpcService = ""
    """The gRPC service that is asked about; the server as a whole, unless you say so."""


class TcpCheck(Part):
    """A connection that is accepted. It says that a process listens, not that it can serve.

    For example `healthCheck: {tcp: {}}`.
    """


class HealthCheck(Part):
    """An active check of every instance: by its own sidecar, which tells every caller's sidecar that asks."""

    path: Path | None = None
    """The path that answers 200 when the instance can serve, for example `/healthz`."""
    grpc: GrpcCheck | None = None
    """The gRPC health protocol in place of a path."""
    tcp: TcpCheck | None = None
    """A connection in place of a path."""
    interval: Time = 5_000
    """Time between two checks."""
    timeout: Time = 1_000
    """How long an answer may take."""
    healthy: Annotated[int, Field(ge=1, le=100)] = 1
    """Good answers in a row until an instance gets traffic again."""
    unhealthy: Annotated[int, Field(ge=1, le=100)] = 3
    """Bad answers in a row until an instance gets no more traffic."""

    @model_validator(mode="after")
    def _asks_one_thing(self) -> HealthCheck:
        asked = [each for each in (self.path, self.grpc, self.tcp) if each is not None]
        if len(asked) > 1:
            raise unreadable("`healthCheck` asks in one way", hint=f"write {_KINDS}", code="PD1111")
        if not asked:
            raise unreadable("`healthCheck` does not say what is asked", hint=f"write {_KINDS}", code="PD1104")
        if self.path is not None and (self.path.rest or None in self.path.segments):
            raise unreadable(
                f"health check path `{self.path}` is a pattern", hint="name one path: `/healthz`", code="PD1110"
            )
        return self
