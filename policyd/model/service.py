"""A service: its versions, where their instances are, and how its traffic is split."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from policyd.base.content import digest, later
from policyd.model.external import External
from policyd.model.failover import Fallback
from policyd.model.gateway import Gateway
from policyd.model.names import Name
from policyd.model.rate_limit import RateLimit
from policyd.model.resilience import Resilience, Timeouts
from policyd.model.route import Route

WHOLE = 10_000
"""All of something, in basis points."""


class Protocol(enum.Enum):
    """What a service speaks to its callers."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One instance: `address` is its sidecar's (mTLS), `app_*` where the application itself listens."""

    address: str
    app_address: str
    app_port: int
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a service, with its instances in order of address."""

    name: str
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """An exact match of one request header; `name` is lower case."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets which version: `weights` are (version, basis points), sorted, sum `WHOLE`, none of them 0.

    Requests that match `first` go to `first_version` whatever the weights.
    """

    weights: tuple[tuple[str, int], ...]
    first: HeaderMatch | None = None
    first_version: str = ""

    @classmethod
    def all_to(cls, version: str) -> Split:
        """The split of a service at rest."""
        return cls(((version, WHOLE),))

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that some request can reach, sorted."""
        named = {version for version, _ in self.weights}
        if self.first is not None:
            named.add(self.first_version)
        return tuple(sorted(named))


class Probe(enum.Enum):
    """How an instance is asked whether it can serve."""

    HTTP = "http"
    GRPC = "grpc"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """An active check of every instance, by its own sidecar, which tells those of its callers.

    `path` is that of an HTTP check, else empty. `grpc_service` is asked about in gRPC; empty: the whole server.
    """

    path: str
    interval_ms: int = 5_000
    timeout_ms: int = 1_000
    healthy_threshold: int = 1
    unhealthy_threshold: int = 3
    probe: Probe = later(Probe.HTTP)
    grpc_service: str = later("")


@dataclass(frozen=True, slots=True)
class Service:
    """A service as its callers and its own sidecars need to know it.

    `split` is what Git asks for at rest (all to the version named in the intent); while a change is in
    flight, `plan.effective` puts the weights of its stage here.
    """

    name: Name
    protocol: Protocol
    port: int
    versions: tuple[Version, ...]
    split: Split
    resilience: Resilience = Resilience()
    health_check: HealthCheck | None = None
    opaque_paths: bool = False
    upgrades: tuple[str, ...] = later(())
    """Protocols that a request may switch to (`websocket`), sorted; every other upgrade is refused."""
    rate_limits: tuple[RateLimit, ...] = later(())
    """What each instance takes in a time."""
    failover: tuple[Fallback, ...] = later(())
    """Where calls go on while the version that they are for is down, in this order."""
    route: Route | None = later(None)
    """Requests that are taken differently from the rest."""
    local_ports: tuple[tuple[Name, int], ...] = later(())
    """At which of its own loopback's ports it finds `tcp` services that it calls, where not at theirs; sorted."""
    external: External | None = later(None)
    """Set where it lies outside of the mesh: no instances, no sidecar; its callers' sidecars judge and encrypt."""
    gateway: Gateway | None = later(None)
    """Set where it is a way into the mesh: its instances take requests from outside, and nobody inside calls it."""
    _digest: str = field(init=False, compare=False, repr=False, default="")

    @property
    def digest(self) -> str:
        """The name by content; worked out when it is first asked for, since a check never does."""
        if not self._digest:
            object.__setattr__(self, "_digest", digest(self))
        return self._digest

    @property
    def serving(self) -> str:
        """The version with the largest share; at rest, the one that Git names."""
        return max(self.split.weights, key=lambda weight: weight[1])[0]

    @property
    def named_versions(self) -> tuple[str, ...]:
        """Every version that some request can reach, by the split or by a rule of the route, sorted."""
        routed = self.route.versions if self.route is not None else ()
        return tuple(sorted({*self.split.versions, *routed}))

    @property
    def longest(self) -> Timeouts:
        """The timeouts that its own sidecars have to bear with: those of the service, or a route's longer ones."""
        timeouts = self.resilience.timeouts
        for rule in self.route.rules if self.route is not None else ():
            own = rule.override.over(self.resilience).timeouts
            timeouts = replace(
                timeouts,
                request_ms=max(timeouts.request_ms, own.request_ms),
                idle_ms=max(timeouts.idle_ms, own.idle_ms),
            )
        return timeouts

    def version(self, name: str) -> Version | None:
        """The version of that name, if there is one."""
        return next((version for version in self.versions if version.name == name), None)
