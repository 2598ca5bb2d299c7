"""`kind: PolicyTest`: requests, and the decisions that are expected of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from policyd.intents.http import HeaderName, HeaderValue
from policyd.intents.kind import Intent, Many, Part
from policyd.intents.route_matches import CookieName, CookieValue, one_case
from policyd.intents.token_claims import Claims
from policyd.intents.units import Address, Caller, Instant, Port, Reference, RequestLine, unreadable
from policyd.model.methods import CONNECTION


class Token(Part):
    """The token that the request carries."""

    issuer: str
    """Who issued it: one of the mesh's `issuers`."""
    valid: bool = True
    """Whether its signature, audience and times hold."""
    claims: Claims = Field(default_factory=dict)
    """What it says."""


class Case(Part):
    """One request, and what should become of it."""

    from_: Caller = Field(alias="from")
    """Who calls: `web`, `namespace/web`, or a whole SPIFFE ID."""
    to: Reference
    """The service that is called."""
    request: RequestLine
    """Method and path: `POST /v1/charges`; or `CONNECT`, a connection to a `tcp` service."""
    expect: Literal["allow", "deny", "reject", "redirect", "abort"]
    """`allow`, `deny` (401 or 403), or `reject` (400: the request is not canonical).

    Where a rule of a route answers it in the place of the service: `redirect`, or `abort` by a fault.
    """
    port: Port | None = None
    """The port that is called; the service's own unless you say so."""
    ip: Address | None = None
    """The address of the direct peer; not known unless you say so."""
    host: str | None = None
    """The host that the request names; a good one unless you say so."""
    headers: Annotated[Mapping[HeaderName, HeaderValue], BeforeValidator(one_case)] = Field(default_factory=dict)
    """The headers that it brings, `{x-beta: "yes"}`, for rules of routes: these, and no others that rules ask for."""
    cookies: Mapping[CookieName, CookieValue] = Field(default_factory=dict)
    """The cookies that it brings: `{beta: "yes"}`."""
    jwt: Token | None = None
    """The token that it carries; none unless you say so."""
    at: Instant | None = None
    """When it is sent: now, unless you say so."""

    @model_validator(mode="after")
    def _connections_bring_nothing(self) -> Case:
        if self.request[0] == CONNECTION and (self.headers or self.cookies):
            raise unreadable(
                "a connection brings no headers", hint="leave `headers` and `cookies` out", code="PD1111"
            )
        return self


class PolicyTest(Intent):
    """Requests and the decisions expected of them: what must stay open, and what must stay closed."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["PolicyTest"]
    spec: Annotated[Many[Case], Field(min_length=1)]
    """The requests."""
