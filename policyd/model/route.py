"""A route: requests to one service that are taken differently from the rest, by what they ask for.

The rules are looked at in order and the first that matches is taken; what matches none goes the way of the service's
own split. `choose` and `Match.matches` are the reference: each data plane must agree with them, request by request.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from policyd.base.content import later
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.resilience import Resilience, Retries
from policyd.model.route_actions import Fault, Mirror, Redirect, Rewrite


class How(enum.Enum):
    """How a value is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    PRESENT = "present"


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One named value of a request: a header (lower case), a parameter of the query, a cookie."""

    name: str
    value: str = ""
    how: How = How.EXACT

    def holds(self, value: str | None) -> bool:
        """Whether a value that came (`None`: none) meets it."""
        if value is None:
            return False
        if self.how is How.PREFIX:
            return value.startswith(self.value)
        return self.how is How.PRESENT or value == self.value

    def covers(self, other: Condition) -> bool:
        """Whether whatever meets `other` meets this, too."""
        if self.name != other.name:
            return False
        if self.how is How.PRESENT:
            return True
        if self.how is How.PREFIX:
            return other.how is not How.PRESENT and other.value.startswith(self.value)
        return self == other


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it comes to the caller's sidecar. `path` has its query; names of `headers` are lower case.

    `host` is as proxies normalise it: lower case, without port and trailing dot.
    """

    method: str
    path: str
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """The value of a header. Several of one name are one value, joined by commas (RFC 9110, section 5.2)."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None

    def cookies(self, name: str) -> tuple[str, ...]:
        """The value of each cookie of that name."""
        pairs = (pair.strip(" \t").partition("=") for pair in (self.header("cookie") or "").split(";"))
        return tuple(value for key, equals, value in pairs if equals and key == name)

    @property
    def query(self) -> Mapping[str, str]:
        """The first value of each parameter, with its escapes."""
        found: dict[str, str] = {}
        for pair in self.path.partition("?")[2].split("&"):
            name, _, value = pair.partition("=")
            found.setdefault(name, value)
        return found


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests: every field that says something must hold. Of hosts, paths and methods one is enough.

    Of a parameter that comes several times the first is looked at; of such a cookie, one that holds is enough.
    """

    hosts: tuple[str, ...] = ()
    paths: tuple[PathPattern, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()
    cookies: tuple[Condition, ...] = ()

    def matches(self, request: Request) -> bool:
        """Whether a request is meant."""
        path = request.path.partition("?")[0]
        return (
            (not self.hosts or request.host in self.hosts)
            and (not self.paths or any(pattern.matches(path) for pattern in self.paths))
            and (not self.methods or request.method in self.methods)
            and all(condition.holds(request.header(condition.name)) for condition in self.headers)
            and all(condition.holds(request.query.get(condition.name)) for condition in self.query)
            and all(any(map(one.holds, request.cookies(one.name))) for one in self.cookies)
        )

    def covers(self, other: Match) -> bool:
        """Whether every request that `other` means is meant here, too: nothing is left for what comes after."""
        return (
            _within(self.hosts, other.hosts)
            and _within(self.methods, other.methods)
            and (not self.paths or _all_covered(self.paths, other.paths))
            and _weaker(self.headers, other.headers)
            and _weaker(self.query, other.query)
            and _weaker(self.cookies, other.cookies)
        )


def _within(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


def _all_covered(wide: tuple[PathPattern, ...], narrow: tuple[PathPattern, ...]) -> bool:
    return bool(narrow) and all(any(one.covers(other) for one in wide) for other in narrow)


def _weaker(some: tuple[Condition, ...], others: tuple[Condition, ...]) -> bool:
    """Whether each of `some` follows from one of `others`."""
    return all(any(one.covers(other) for other in others) for one in some)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a share of the requests goes: a version of the route's own service, or a service by its own split.

    `weight` is in basis points; those of one rule add up to the whole.
    """

    weight: int
    version: str = ""
    service: Name | None = None


class Carrier(enum.Enum):
    """What a client is known by."""

    COOKIE = "cookie"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Sticky:
    """A client stays with what it was given. `ttl_s` is how long a cookie is kept; 0: as long as the client lives."""

    by: Carrier
    name: str
    ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class Override:
    """What holds in the place of the service's own resilience; `None`: that of the service."""

    request_ms: int | None = None
    per_try_ms: int | None = None
    idle_ms: int | None = None
    retries: Retries | None = None

    def over(self, resilience: Resilience) -> Resilience:
        """The service's resilience with these in place."""
        asked = {"request_ms": self.request_ms, "per_try_ms": self.per_try_ms, "idle_ms": self.idle_ms}
        timeouts = replace(resilience.timeouts, **{name: said for name, said in asked.items() if said is not None})
        if timeouts.per_try_ms > timeouts.request_ms:
            timeouts = replace(timeouts, per_try_ms=0)  # a shorter call bounds each of its tries
        return replace(resilience, timeouts=timeouts, retries=self.retries or resilience.retries)


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What becomes of the requests that `match` means. Without `targets` the service's own split holds."""

    name: str
    match: Match = Match()
    targets: tuple[Target, ...] = ()
    override: Override = Override()
    sticky: Sticky | None = later(None)
    mirrors: tuple[Mirror, ...] = later(())
    fault: Fault | None = later(None)
    redirect: Redirect | None = later(None)
    """With it nothing else becomes of the request."""
    rewrite: Rewrite | None = later(None)

    @property
    def _aims(self) -> tuple[Target | Mirror, ...]:
        return (*self.targets, *self.mirrors)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of its own service that it names, sorted."""
        return tuple(sorted({each.version for each in self._aims if each.version}))

    @property
    def services(self) -> tuple[Name, ...]:
        """The other services that it names, sorted."""
        named = {each.service for each in self._aims}
        return tuple(sorted(name for name in named if name is not None))


@dataclass(frozen=True, slots=True)
class Route:
    """All the rules of one service, in order."""

    name: Name
    rules: tuple[RouteRule, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that some rule names, sorted."""
        return tuple(sorted({version for rule in self.rules for version in rule.versions}))

    @property
    def services(self) -> tuple[Name, ...]:
        """The other services that some rule names, sorted."""
        return tuple(sorted({service for rule in self.rules for service in rule.services}))


def choose(route: Route | None, request: Request) -> RouteRule | None:
    """The rule that takes a request: the first that matches, or `None` for the service's own split."""
    rules = route.rules if route is not None else ()
    return next((rule for rule in rules if rule.match.matches(request)), None)
