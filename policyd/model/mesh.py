"""The mesh: what all proxies together are asked to be, and how changes to it are taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policyd.base.content import digest, later
from policyd.model.access import Access
from policyd.model.names import Name
from policyd.model.release import DEFAULT_STRATEGY, CanaryPlan, Strategy
from policyd.model.revocation import Revocation
from policyd.model.service import Service
from policyd.model.slo import Slo
from policyd.model.tokens import Issuer
from policyd.model.tracing import Tracing


@dataclass(frozen=True, slots=True)
class DataPlane:
    """A kind of proxy in the mesh: `compiler` names the entry point that writes its configuration."""

    name: str
    compiler: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What all proxies share. Ports are those of each sidecar: mTLS from peers, plain HTTP from its own app."""

    name: str
    trust_domain: str
    data_planes: tuple[DataPlane, ...] = (DataPlane("sidecars", "envoy"),)
    inbound_port: int = 15_006
    outbound_port: int = 15_001
    leaf_s: int = 86_400
    root_s: int = 365 * 86_400
    issuers: tuple[Issuer, ...] = later(())
    """Whose tokens rules may ask for, by name."""
    distrusted: tuple[str, ...] = later(())
    """Roots (SHA-256 of each, sorted) that proxies were given before and trust no more: connections that began under
    them are ended. A fact that the floor fills in; Git never says it here."""
    roots: tuple[tuple[str, str], ...] = later(())
    """Where proxies find the roots that external hosts are verified against: (name, file on their machine), sorted. A
    fact from the controller's settings."""
    tracing: Tracing | None = later(None)
    """Whether sidecars make spans, and for whom."""
    digest: str = field(init=False, compare=False, repr=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self))


@dataclass(frozen=True, slots=True)
class Releases:
    """How changes are taken; read from the head of Git, never rolled out itself."""

    canaries: Mapping[Name, CanaryPlan] = field(default_factory=dict)
    """By service."""
    slos: Mapping[Name, Slo] = field(default_factory=dict)
    """By their own name."""
    strategy: Strategy = DEFAULT_STRATEGY


@dataclass(frozen=True, slots=True)
class Mesh:
    """The whole. Mappings are sorted by name and must not be changed after construction."""

    settings: Settings
    services: Mapping[Name, Service] = field(default_factory=dict)
    access: Mapping[Name, Access] = field(default_factory=dict)
    """By destination; every service has an entry."""
    releases: Releases = Releases()
    revocations: Mapping[Name, Revocation] = field(default_factory=dict)
    """What Git cuts off, by name. No release: it goes to the floor, which holds for every node at once."""
    also_inbound: tuple[int, ...] = ()
    """Ports besides `inbound_port` where sidecars can be reached, while a change of it is on its way."""
    derived: dict[object, object] = field(init=False, compare=False, repr=False, default_factory=dict)
    """Indexes that were computed from this very mesh, by what computed them (`Scope.of`); no part of its content."""
