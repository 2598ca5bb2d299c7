"""The way into the mesh: a proxy at its edge that ends TLS, looks whom a request is for, and calls services itself.

A gateway stands among the services with an identity of its own and its instances as one version. Nobody calls it from
inside; what it may call is said by access rules that name it, as for every caller. `Gateway.listener` and
`Gateway.entry` are the reference for what a data plane does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from policyd.model.names import Name
from policyd.model.route import Request, RouteRule

VERSION = "edge"
"""A gateway has one version; its nodes go by this name."""
WILDCARD = "*."


def covers(pattern: str, host: str) -> bool:
    """Whether a host of a listener means `host`, a name or a pattern itself; `*.` is one label or several."""
    if pattern.startswith(WILDCARD):
        return host != pattern[2:] and host.removeprefix("*").endswith(pattern[1:])
    return pattern == host


@dataclass(frozen=True, slots=True)
class Listener:
    """A port at the edge, for clients that ask for one of `hosts` (names in lower case, or `*.` and a name).

    With a `certificate` (by its name in the controller's settings) it speaks TLS; several on one port are told apart
    by the name that clients ask for in the handshake. Without one it answers in the clear: it sends clients to where
    TLS is spoken, or, if `plaintext`, does as the others do.
    """

    port: int
    hosts: tuple[str, ...]
    certificate: str = ""
    plaintext: bool = False

    def specificity(self, host: str) -> int:
        """How closely it means `host`: the length of its pattern, the exact name above all; 0: not at all."""
        found = [len(each) + (each == host) * 1_000 for each in self.hosts if covers(each, host)]
        return max(found, default=0)


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of requests that `rule` means: to service `to`, or as its redirect says.

    `public`: without the token that the gateway asks for.
    """

    rule: RouteRule
    to: Name | None = None
    public: bool = False


@dataclass(frozen=True, slots=True)
class Gateway:
    """What a gateway takes in, and where it goes; of `entries` the first that means a request is taken."""

    listeners: tuple[Listener, ...]
    entries: tuple[Entry, ...]
    issuer: str = ""
    """Whose token a request must bring (by his name in the mesh); empty: none."""
    trusted_hops: int = 0
    """How many proxies in front of it are believed about whom they speak for."""
    allow_from: tuple[str, ...] = ()
    """The blocks of addresses (CIDR) that clients come from; empty: any."""
    hsts_s: int = 0
    """How long browsers are told to come by TLS alone; 0: nothing is said."""
    missing: tuple[str, ...] = ()
    """The certificates that are not to be had: their listeners are closed. A fact that the controller fills in."""

    @property
    def services(self) -> tuple[Name, ...]:
        """The services that some entry leads to, sorted."""
        return tuple(sorted({entry.to for entry in self.entries if entry.to is not None}))

    @property
    def certificates(self) -> tuple[str, ...]:
        """The certificates that its listeners show, sorted."""
        return tuple(sorted({each.certificate for each in self.listeners if each.certificate}))

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens, sorted."""
        return tuple(sorted({each.port for each in self.listeners}))

    def listener(self, port: int, host: str) -> Listener | None:
        """Who of a port is meant by `host`, if anyone: the one that means it most closely."""
        there = [each for each in self.listeners if each.port == port]
        closest = max(there, key=lambda each: each.specificity(host), default=None)
        return closest if closest is not None and closest.specificity(host) else None

    def secured(self, host: str) -> Listener | None:
        """The listener that takes `host` over TLS: at 443 if there is one, else at the lowest port."""
        found = (self.listener(port, host) for port in sorted(self.ports, key=lambda port: (port != 443, port)))
        return next((each for each in found if each is not None and each.certificate), None)

    def entry(self, request: Request) -> Entry | None:
        """What takes a request for one of its hosts; `None`: nothing does, which is answered 404."""
        return next((each for each in self.entries if each.rule.match.matches(request)), None)


def overlapping(hosts: Iterable[str], named: Iterable[str]) -> bool:
    """Whether some name is meant by both: the hosts of a listener, and those that a route names (any, if none)."""
    names = tuple(named)
    return not names or any(covers(each, name) for each in hosts for name in names)
