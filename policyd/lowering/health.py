"""Part of the pass `services`: `healthCheck` of a service, and what its protocol cannot answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.health import HealthCheck as HealthCheckIntent
from policyd.intents.service import Service as ServiceIntent
from policyd.model.service import HealthCheck, Probe


def lowered(intent: HealthCheckIntent | None) -> HealthCheck | None:
    """The model of what the intent says."""
    if intent is None:
        return None
    probe = Probe.GRPC if intent.grpc is not None else Probe.TCP if intent.tcp is not None else Probe.HTTP
    return HealthCheck(
        path=str(intent.path) if intent.path is not None else "",
        interval_ms=intent.interval,
        timeout_ms=intent.timeout,
        healthy_threshold=intent.healthy,
        unhealthy_threshold=intent.unhealthy,
        probe=probe,
        grpc_service=intent.grpc.service if intent.grpc is not None else "",
    )


def problems(document: Document) -> Iterator[Finding]:
    """What the service's protocol cannot answer."""
    spec = cast("ServiceIntent", document.intent).spec
    check = spec.health_check
    if check is None:
        return
    if spec.protocol == "tcp" and check.path is not None:
        yield document.finding(
            "PD1210",
            "`healthCheck` asks for a path, and `tcp` has none",
            "spec",
            "healthCheck",
            hint="`healthCheck: {tcp: {}}` asks for a connection",
            at_key=True,
        )
    if check.grpc is not None and spec.protocol not in ("http2", "grpc"):
        yield document.finding(
            "PD1238",
            f"gRPC is spoken over HTTP/2, and the service speaks `{spec.protocol}`",
            "spec",
            "healthCheck",
            "grpc",
            hint="`protocol: grpc`, or a check by `path`",
        )
