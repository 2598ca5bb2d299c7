"""Part of the passes `services`, `egress` and `routes`: what tries and failures are where calls are gRPC.

Every call is a `POST` whose answer is 200, whatever became of it. So neither the method nor the status of HTTP tells
anything; a service's author says with `on` what may be sent twice, as he would in a gRPC client's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.place import Step
from policyd.intents.resilience import GRPC_STATUSES, Retry
from policyd.intents.route import Retry as RouteRetry
from policyd.intents.route import Route as RouteIntent
from policyd.model.resilience import Resilience, Retries
from policyd.model.route import Route
from policyd.model.service import Protocol

METHOD = "POST"
"""The method of every call. Source: gRPC over HTTP/2, "Requests"."""
_UNSAID = frozenset(Retries().methods)


def judged(protocol: Protocol, resilience: Resilience, *, fails_over: bool = False) -> Resilience:
    """A service's resilience; if it speaks gRPC and names no methods, its tries are for the method of its calls."""
    tried = resilience.retries.attempts or fails_over
    if protocol is not Protocol.GRPC or not tried:
        return resilience
    return replace(resilience, retries=_of_calls(resilience.retries))


def judged_route(protocol: Protocol, route: Route) -> Route:
    """The same for what the rules of a service's route say."""
    if protocol is not Protocol.GRPC or not any(rule.override.retries for rule in route.rules):
        return route
    rules = (
        replace(rule, override=replace(rule.override, retries=_of_calls(rule.override.retries)))
        if rule.override.retries
        else rule
        for rule in route.rules
    )
    return replace(route, rules=tuple(rules))


def _of_calls(retries: Retries) -> Retries:
    return replace(retries, methods=(METHOD,)) if set(retries.methods) == _UNSAID else retries


def problems(
    document: Document, protocol: str, retries: Retry | RouteRetry | None, path: Sequence[Step]
) -> Iterator[Finding]:
    """Conditions that no call ever meets; `path` leads to `retries`."""
    if retries is None or not retries.attempts:
        return
    if protocol != Protocol.GRPC.value:
        for number, word in enumerate(retries.on):
            if word in GRPC_STATUSES:
                yield document.finding(
                    "PD1297",
                    f"`{word}` is how a gRPC call ends, and the service speaks `{protocol}`",
                    *(*path, "on", number),
                    hint="`protocol: grpc`, or a status such as 503",
                )
        return
    for number, word in enumerate(retries.on):
        if word.isdigit():
            yield document.finding(
                "PD1298",
                f"a gRPC call that fails is answered with 200, never {word}",
                *(*path, "on", number),
                hint="`unavailable` is what a gRPC server says that cannot answer now",
                severity=Severity.WARNING,
            )
    if METHOD not in retries.methods and "methods" in retries.model_fields_set:
        yield document.finding(
            "PD1298",
            f"every gRPC call is a `{METHOD}`, which is not among the methods: nothing is tried again",
            *(*path, "methods"),
            hint="leave `methods` out: `on` says what may be sent twice",
            severity=Severity.WARNING,
        )


def problems_of_route(document: Document, protocol: Protocol) -> Iterator[Finding]:
    """The same for the rules of a route."""
    for number, rule in enumerate(cast("RouteIntent", document.intent).spec.rules):
        if rule.resilience is not None:
            here = ("spec", "rules", number, "resilience", "retries")
            yield from problems(document, protocol.value, rule.resilience.retries, here)
