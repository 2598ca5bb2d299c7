"""What the rules of a route say and HAProxy cannot."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.base.diagnostics import Severity
from policyd.compiler.artifact import Loss
from policyd.model.provenance import Key
from policyd.model.route import Override, Route, RouteRule
from policyd.model.service import Service


def of_route(service: Service) -> Iterator[Loss]:
    """The losses of a service's route, rule by rule."""
    for rule in service.route.rules if service.route is not None else ():
        assert service.route is not None
        yield from _of_rule(service.route, rule)


def _of_rule(route: Route, rule: RouteRule) -> Iterator[Loss]:
    if rule.override != Override():
        yield Loss(
            "PD1320",
            Severity.WARNING,
            Key("Route", route.name),
            f"`{rule.name}` has timeouts or retries of its own, which haproxy keeps for each version: those of the "
            "service hold",
            hint="set them in the service",
        )
    if rule.mirrors:
        yield Loss(
            "PD1321",
            Severity.WARNING,
            Key("Route", route.name),
            f"`{rule.name}` sends copies of requests, which haproxy cannot: nobody gets one",
        )
    if rule.fault is not None:
        yield Loss(
            "PD1322",
            Severity.WARNING,
            Key("Route", route.name),
            f"`{rule.name}` asks for trouble on purpose, which haproxy does not make: nothing is delayed or aborted",
        )
