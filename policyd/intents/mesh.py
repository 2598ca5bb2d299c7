"""`kind: Mesh`: what all proxies share. There is exactly one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policyd.intents.kind import Intent, Many, Part
from policyd.intents.units import Label, Reference, Time, TrustDomain

Port = Annotated[int, Field(ge=1, le=65_535)]


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


class Mesh(Intent):
    """What all proxies share: trust domain, data planes, the way changes are taken."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Mesh"]
    spec: MeshSpec
