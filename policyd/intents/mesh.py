"""`kind: Mesh`: what all proxies share. There is exactly one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.kind import Intent, Many, Part
from policyd.intents.units import HttpsUrl, Label, Milliseconds, Port, Reference, TrustDomain, unreadable


def jwk_set(value: object) -> str:
    """Read a JWK set written as text; returned without white space. Source: RFC 7517, section 5."""
    try:
        said = json.loads(value) if isinstance(value, str) else None
        keys = said.get("keys") if isinstance(said, dict) else None
    except (ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) and "kty" in key for key in keys):
        raise unreadable("`jwks` is not a JWK set", hint='text such as `\'{"keys": [{"kty": "EC", ...}]}\'`')
    if any(key["kty"] == "oct" or "d" in key for key in keys):
        raise unreadable(
            "`jwks` holds a secret: whoever reads this repository could issue tokens",
            hint="leave private and symmetric keys out, and replace this one",
        )
    return json.dumps({"keys": keys}, sort_keys=True, separators=(",", ":"))


class DataPlane(Part):
    """One kind of proxy."""

    name: Label
    """What people call it, for example `sidecars`."""
    compiler: Label
    """The compiler that writes its configuration, for example `envoy`; `policyd doctor` lists what is installed."""


class Lifetimes(Part):
    """How long identities live."""

    leaf: Milliseconds = 86_400_000
    """A workload's certificate; it is renewed at half its life. For example `24h`."""
    root: Milliseconds = 31_536_000_000
    """The certificate authority's own certificate. For example `1y`."""


class Ports(Part):
    """Where each sidecar listens."""

    inbound: Port = 15_006
    """Mutual TLS from other sidecars."""
    outbound: Port = 15_001
    """Plain HTTP from the sidecar's own application, on loopback."""


class Issuer(Part):
    """Somebody whose tokens (JWT) are believed."""

    issuer: Annotated[str, Field(min_length=1, max_length=2_048)]
    """The exact `iss` of the tokens, for example `https://login.example`."""
    audiences: Many[Annotated[str, Field(min_length=1, max_length=2_048)]] = ()
    """A token must name one of them in `aud`; any will do unless you say so."""
    jwks: Annotated[str, PlainValidator(jwk_set), WithJsonSchema({"type": "string"})] | None = None
    """The public keys, as the text of a JWK set."""
    jwks_uri: HttpsUrl | None = None
    """Where the public keys are fetched from, if the controller's settings allow that host."""

    @model_validator(mode="after")
    def _one_set_of_keys(self) -> Issuer:
        if (self.jwks is None) == (self.jwks_uri is None):
            raise unreadable(
                "an issuer has either `jwks` or `jwksUri`",
                hint="the public keys as text, or the `https` URL that serves them",
                code="PD1111" if self.jwks else "PD1104",
            )
        return self


class MeshSpec(Part):
    """What all proxies share."""

    trust_domain: TrustDomain
    """The SPIFFE trust domain of every identity in the mesh, for example `shop.example`."""
    data_planes: Annotated[Many[DataPlane], Field(min_length=1)] = Field(
        default=(DataPlane.model_construct(name="sidecars", compiler="envoy"),)
    )
    """The kinds of proxies. One, Envoy sidecars, unless you say otherwise."""
    strategy: Reference | None = None
    """How changes are taken that are not canaries: a `RolloutStrategy`, or `immediate` for everywhere at once."""
    identity: Lifetimes = Lifetimes()
    """How long certificates live."""
    ports: Ports = Ports()
    """Where each sidecar listens."""
    issuers: Mapping[Label, Issuer] = Field(default_factory=dict)
    """Whose tokens access rules may ask for, by the name that rules use."""


class Mesh(Intent):
    """What all proxies share: trust domain, data planes, the way changes are taken."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Mesh"]
    spec: MeshSpec
