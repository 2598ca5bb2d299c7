"""`/v1/map`: every edge that is allowed or was used, side by side, and what was tried in vain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import answer, refusal
from policyd.base.errors import PolicydError
from policyd.model.names import Name


@dataclass(frozen=True, slots=True)
class Traffic:
    """What callers saw within the window. Quantiles are milliseconds, `None` where nothing was timed."""

    requests: int = 0
    requests_per_s: float = 0.0
    error_share: float = 0.0
    """Answers of 500 and above, of the callee or in its stead."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    refused: int = 0
    """Answers of 401 and 403, of the callee's sidecar or of its application."""
    retries: int = 0
    """Further attempts that the caller's sidecar made."""
    open_circuits: int = 0
    """Sidecars of the caller at which a bound of the circuit breaker is reached now."""
    left_out: int = 0
    """Instances that the caller's sidecars leave out now, counted once for each of them."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One caller and one callee, `namespace/name`; a caller `ns/*` or `*` stands for all that a rule lets in so."""

    caller: str
    callee: str
    rules: tuple[str, ...]
    """The enforced rules that allow some request of it; none: it carried requests, and is not allowed (any more)."""
    matched: dict[str, int] = field(default_factory=dict)
    """Requests that each of them let in within the window, from this caller or from its others."""
    traffic: Traffic = Traffic()
    versions: dict[str, Traffic] = field(default_factory=dict)
    """By the callee's version."""
    mtls: bool = True
    unused: bool | None = False
    """Whether nothing was seen within the window; `None` where a sidecar that could tell was not read."""
    unused_since: str = ""
    """Where it is unused: the instant after which nothing was seen."""
    ever_used: bool = False
    """Whether anything was seen at all since `ServiceMap.watched_since`."""


@dataclass(frozen=True, slots=True)
class RuleUse:
    """One enforced rule, and how much it let in. `callers` are written as in an edge."""

    rule: str
    callee: str
    callers: tuple[str, ...]
    matched: int = 0
    """Requests that it let in within the window."""
    unused: bool | None = False
    """Whether that was nothing; `None` where a sidecar of the callee was not read."""
    unused_since: str = ""
    """Where it is unused: the instant after which it let nothing in."""
    ever_used: bool = False
    """Whether it let anything in at all since `ServiceMap.watched_since`."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was denied within the window. `caller` or `callee` is empty where nothing counts it."""

    caller: str
    callee: str
    refused_by: str
    """`callee` or `caller`: whose sidecar said no."""
    reasons: dict[str, int]
    """Denials by reason: those of the callee whoever called, or those of the caller for whatever host."""
    at_most: int
    """How many of them can be this edge's."""


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """The map of the promoted mesh minus the floor. Everything is sorted."""

    at: str
    window_s: float
    watched_since: str
    """Since when uses are remembered; empty before the first reading."""
    services: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    rules: tuple[RuleUse, ...] = ()
    denied: tuple[Tried, ...] = ()
    not_read: tuple[str, ...] = ()
    """Sidecars that did not answer when they were asked last."""
    notes: tuple[str, ...] = ()
    """What the numbers mean, and what is not known."""

    def only(self, *, service: str = "", unused: bool = False, denied: bool = False) -> ServiceMap:
        """The part about one service, what is unused, or what was denied; with both words, these two together."""
        edges = tuple(edge for edge in self.edges if not service or service in {edge.caller, edge.callee})
        tried = tuple(each for each in self.denied if not service or service in {each.caller, each.callee})
        rules = tuple(rule for rule in self.rules if not service or service == rule.callee or service in rule.callers)
        if unused or denied:
            rules = tuple(rule for rule in rules if unused and rule.unused)
            edges = tuple(edge for edge in edges if unused and edge.unused)
            tried = tried if denied else ()
        services = tuple(name for name in self.services if not service or name == service)
        return replace(self, services=services, edges=edges, rules=rules, denied=tried)


class Mapping(Protocol):
    """Who knows what is allowed and what was seen; the daemon implements it."""

    def service_map(self) -> ServiceMap:
        """The map, as of now. Raises `Retry` before anything is promoted."""
        ...


class MapEndpoint:
    """Answers for one mesh."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping

    async def map(self, request: Request) -> Response:
        """`GET /v1/map[?service=NAME][&unused][&denied]`."""
        asked = request.query_params
        try:
            found = self._mapping.service_map()
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))
        name = asked.get("service", "")
        service = str(Name.parse(name)) if name else ""
        if service and service not in found.services:
            return refusal(BadRequest(f"there is no service `{name}`", code="not_found", status=404))
        shown = found.only(service=service, unused="unused" in asked, denied="denied" in asked)
        return answer(shown, pretty="pretty" in asked)
