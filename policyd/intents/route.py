"""`kind: Route`: requests to a service that are taken differently from the rest, by what they ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from policyd.intents.http import HeaderName, Method
from policyd.intents.kind import Intent, Many, Part
from policyd.intents.resilience import RetryCondition
from policyd.intents.route_actions import Fault, Mirror, Redirect, Rewrite
from policyd.intents.route_matches import CookieName, Match
from policyd.intents.units import Label, Reference, Step, Time, unreadable


class Target(Part):
    """Where a share of the requests goes."""

    version: Label | None = None
    """A version of the service itself. It stays with that version while a release moves the others."""
    service: Reference | None = None
    """A service, in the way that its own split says: this one, or another that callers may call, too."""
    weight: Step = 10_000
    """Per cent of the requests."""

    @model_validator(mode="after")
    def _one_of(self) -> Target:
        if (self.version is None) == (self.service is None):
            raise unreadable(
                "a target is a `version` or a `service`",
                hint="for example `split: [{version: v1, weight: 90}, {version: v2, weight: 10}]`",
                code="PD1104",
            )
        return self


class Sticky(Part):
    """A client that was given a version stays with it: `sticky: {cookie: cart}`, `sticky: {header: x-user}`.

    The client's part of the whole is a number that its cookie or header stands for. So shares hold, and a change of
    weights moves those clients alone whose number lies between the old weight and the new one.
    """

    cookie: CookieName | None = None
    """The cookie that a client is known by. Who comes without it is given one with the answer."""
    header: HeaderName | None = None
    """The request header that a client is known by, for example `x-user`. Requests without it follow the weights."""
    ttl: Time | None = None
    """How long the cookie is kept; unless you say so, as long as the client itself lives."""

    @model_validator(mode="after")
    def _one_of(self) -> Sticky:
        if (self.cookie is None) == (self.header is None):
            raise unreadable(
                "a client is known by a `cookie` or by a `header`",
                hint="for example `sticky: {cookie: cart}`",
                code="PD1104",
            )
        if self.header is not None and self.ttl is not None:
            raise unreadable("only a cookie has a `ttl`", hint="leave `ttl` out", code="PD1104")
        return self


class Timeout(Part):
    """Bounds of a call, in the place of the service's own."""

    request: Time | None = None
    """The whole call, further tries included."""
    per_try: Time | None = None
    """Each try."""
    idle: Time | None = None
    """A stream without traffic."""


class Retry(Part):
    """When a failed call is made again, in the place of the service's own. The service's budget holds."""

    attempts: Annotated[int, Field(ge=0, le=10)]
    """How many further tries; 0: none."""
    on: Annotated[Many[RetryCondition], Field(min_length=1)] = ("connect-failure", "refused-stream")
    """What is tried again: `connect-failure`, `reset`, `refused-stream`, `gateway-error`, or a status such as 503; of
    gRPC, a status such as `unavailable`."""
    methods: Annotated[Many[Method], Field(min_length=1)] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
    """The methods that may be sent twice. With `protocol: grpc`, `on` says it: every call is a `POST`."""


class Override(Part):
    """What holds for these requests in the place of the service's own resilience; the rest stays as it is."""

    timeout: Timeout = Timeout()
    """Bounds of a call."""
    retries: Retry | None = None
    """When a failed call is made again."""


def _targets(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class Rule(Part):
    """One kind of requests, and what becomes of them."""

    name: Label | None = None
    """What logs and reviews call it; by default its number, `rule-1` and so on."""
    match: Match | None = None
    """Which requests; every one unless you say so."""
    split: Annotated[
        Many[Target], BeforeValidator(_targets, json_schema_input_type=list[Target] | Target), Field(max_length=8)
    ] = ()
    """Where they go: one target, or several with weights that make 100; by default the service's own split."""
    resilience: Override | None = None
    """How these calls are bounded and tried again, where that differs."""
    sticky: Sticky | None = None
    """Clients stay with the version that they were given."""
    mirror: Annotated[
        Many[Mirror], BeforeValidator(_targets, json_schema_input_type=list[Mirror] | Mirror), Field(max_length=4)
    ] = ()
    """Who gets a copy as well."""
    fault: Fault | None = None
    """Trouble on purpose."""
    redirect: Redirect | None = None
    """The client is sent elsewhere; then nothing else becomes of the request."""
    rewrite: Rewrite | None = None
    """What the callee sees in place of what was asked."""

    @model_validator(mode="after")
    def _does_something(self) -> Rule:
        said = (getattr(self, name) for name in self.model_fields_set - {"name", "match"})
        if all(each in ((), None, Override()) for each in said):
            raise unreadable(
                "the rule changes nothing",
                hint="say what becomes of these requests, for example `split: {version: v2}`",
                code="PD1104",
            )
        return self


class RouteSpec(Part):
    """The rules of one service."""

    to: Reference
    """The service that is called; it must be in the route's own namespace."""
    rules: Annotated[Many[Rule], Field(min_length=1, max_length=100)]
    """Looked at in order: the first that matches is taken. What matches none goes the service's own way."""


class Route(Intent):
    """Requests to a service that are taken differently from the rest. A service has one route."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Route"]
    spec: RouteSpec
