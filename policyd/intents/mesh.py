"""`kind: Mesh`: what all proxies share. There is exactly one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.kind import Intent, Many, Part
from policyd.intents.observability import Observability
from policyd.intents.units import HttpsUrl, Label, Port, Reference, Time, TrustDomain, unreadable
from policyd.model.tokens import KeySetError, key_set


def jwk_set(value: object) -> str:
    """Read a JWK set written as text; returned in its shortest form."""
    try:
        return key_set(value if isinstance(value, str) else "")
    except KeySetError as problem:
        hint = 'text such as `\'{"keys": [{"kty": "EC", ...}]}\'`'
        if "secret" in str(problem):
            hint = "whoever reads this repository could issue tokens: leave that key out, and replace it"
        raise unreadable(f"`jwks` cannot be used: {problem}", hint=hint) from None


class DataPlane(Part):
    """One kind of proxy."""

    name: Label
    """What people call it, for example `sidecars`."""
    compiler: Label
    """The compiler that writes its configuration, for example `envoy`; `policyd doctor` lists what is installed."""


class Lifetimes(Part):
    """How long identities live."""

    leaf: Time = 86_400_000
    """A workload's certificate; it is renewed at half its life. For example `24h`."""
    root: Time = 31_536_000_000
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
    observability: Observability = Observability()
    """What sidecars tell besides their access logs and counters."""


class Mesh(Intent):
    """What all proxies share: trust domain, data planes, the way changes are taken."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Mesh"]
    spec: MeshSpec
