"""`kind: Gateway`: the way into the mesh from outside, with listeners, hosts, certificates and routes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.kind import Intent, Many, OneOrMany, Part
from policyd.intents.route_actions import Redirect, Rewrite
from policyd.intents.route_matches import Match
from policyd.intents.units import Address, IpBlock, Label, Port, Reference, Time, shown, unreadable

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}")


def _host(value: object) -> str:
    if isinstance(value, str) and len(value) <= 253 and _HOST.fullmatch(value) and not value[-1].isdigit():
        return value
    hint = 'a name in lower case and without port, or all below one: `shop.example`, `"*.shop.example"`'
    raise unreadable(f"`{shown(value)}` is not a host that clients can ask for", hint=hint, code="PD1292")


EdgeHost = Annotated[str, PlainValidator(_host), WithJsonSchema({"type": "string"})]


class Instance(Part):
    """One proxy of the gateway."""

    address: Address
    """Its address, where it listens."""
    zone: Label | None = None
    """Where it runs, for services that prefer their callers' zone."""


def _instance(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


class EdgeTls(Part):
    """TLS towards clients: 1.2 or newer, HTTP/2 and HTTP/1.1."""

    certificate: Label
    """The certificate that is shown, by its name in the controller's settings (`certificates`)."""


class EdgeListener(Part):
    """A port, and whom clients ask for there. Without `tls` it only sends them to where TLS is spoken."""

    port: Port
    """The port."""
    hosts: Annotated[OneOrMany[EdgeHost], Field(min_length=1)]
    """The names that clients ask for, `shop.example`, or all below one, `"*.shop.example"`. A client that asks for
    another one in the TLS handshake is refused; a request for a host that its handshake did not mean is answered
    421."""
    tls: EdgeTls | None = None
    """TLS towards clients."""
    plaintext: bool = False
    """Take requests in the clear. Everybody on the way reads and changes them."""

    @model_validator(mode="after")
    def _one_of(self) -> EdgeListener:
        if self.plaintext and self.tls is not None:
            raise unreadable("`tls` and `plaintext` exclude each other", hint="leave one of them out", code="PD1104")
        return self


class EdgeJwt(Part):
    """The token that every request must bring."""

    issuer: Label
    """Who issued it: one of the mesh's `issuers`. What it must say besides is a matter of access rules."""


class Entry(Part):
    """One kind of requests, and the service that gets them."""

    name: Label | None = None
    """What logs and reviews call it; by default its number, `rule-1` and so on."""
    match: Match | None = None
    """Which requests; every one unless you say so."""
    to: Reference | None = None
    """The service. Its access rules must let the gateway, by its name, call it."""
    redirect: Redirect | None = None
    """The client is sent elsewhere instead."""
    rewrite: Rewrite | None = None
    """What the service sees in place of what was asked. Its access rules judge what arrives."""
    public: bool = False
    """Without the token that the gateway asks for."""

    @model_validator(mode="after")
    def _one_of(self) -> Entry:
        if (self.to is None) == (self.redirect is None):
            raise unreadable(
                "a route leads `to` a service or is a `redirect`", hint="for example `to: checkout`", code="PD1104"
            )
        if self.redirect is not None and self.rewrite is not None:
            raise unreadable(
                "who is sent elsewhere arrives nowhere",
                hint="leave `rewrite` out: a redirect has a `path`",
                code="PD1104",
            )
        return self


class GatewaySpec(Part):
    """The gateway."""

    endpoints: Annotated[
        Many[Annotated[Instance, BeforeValidator(_instance, json_schema_input_type=str | Instance)]],
        Field(min_length=1),
    ]
    """Its proxies: addresses, or `{address, zone}`."""
    listeners: Annotated[Many[EdgeListener], Field(min_length=1, max_length=100)]
    """Where clients come in."""
    routes: Annotated[Many[Entry], Field(min_length=1, max_length=500)]
    """Looked at in order: the first that matches is taken. What matches none is answered 404."""
    jwt: EdgeJwt | None = None
    """A valid token (JWT) that a request must carry in `authorization: Bearer ...`, but for routes that are `public`.
    Without one it is answered 401."""
    trusted_hops: Annotated[int, Field(ge=0, le=10)] = 0
    """How many proxies of your own stand in front, which say in `x-forwarded-for` whom they speak for. 0: what a
    client says about itself is thrown away."""
    allow_from: OneOrMany[IpBlock] = ()
    """Where clients may come from, `10.0.0.0/8`, behind the proxies of `trustedHops`; from anywhere unless you say
    so."""
    hsts: Time | None = None
    """How long browsers shall come by TLS alone (`strict-transport-security`), for example `1y`."""


class Gateway(Intent):
    """The way into the mesh from outside. It calls services with an identity of its own, as access rules let."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Gateway"]
    spec: GatewaySpec
