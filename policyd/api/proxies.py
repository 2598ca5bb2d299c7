"""`/v1/proxies`: how every proxy of the mesh is, and what is wrong with it, for `policyd doctor mesh`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bodies import answer


@dataclass(frozen=True, slots=True)
class LastRefusal:
    """What a proxy refused last, since the controller began. `kind` is a resource type in short."""

    at: str
    kind: str
    resources: tuple[str, ...]
    said: str
    """The proxy's own words; that it gave no answer at all, where it was silent."""
    stands: bool
    """Whether it still does not run what it refused then."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The leaf that a proxy shows now, as it says itself: two instants, and how many seconds are left."""

    since: str
    until: str
    left_s: float


@dataclass(frozen=True, slots=True)
class ProxyHealth:
    """One proxy. Digests name whole sets of configuration, instants are in ISO 8601."""

    node: str
    program: str
    """What it runs, such as `envoy 1.40.0`; empty before it has said so."""
    connected: bool
    since: str
    """When it last came or went; empty if it never came."""
    in_sync: bool
    """Whether it has acknowledged the whole of what it should run."""
    should_run: str
    acknowledged: str
    """The last set that it acknowledged as a whole; empty if there is none."""
    behind: tuple[str, ...]
    """Resources of what it should run that it reports in another version, or not at all; none while it is away."""
    refused: LastRefusal | None
    certificate: Certificate | None
    """`None` where it could not be read."""
    stats_age_s: float | None
    """Seconds since its statistics came last; `None` if they never did."""
    problems: tuple[str, ...]
    """What is wrong, in words; empty: it is well."""


@dataclass(frozen=True, slots=True)
class MeshHealth:
    """All proxies, by node id. `problems` are those of the mesh as a whole."""

    at: str
    well: bool
    proxies: tuple[ProxyHealth, ...] = ()
    problems: tuple[str, ...] = ()


class Examining(Protocol):
    """Who looks at the proxies; the daemon implements it."""

    async def examine(self) -> MeshHealth:
        """How they are now; asks the proxies themselves for what only they know."""
        ...


class ProxiesEndpoint:
    """Answers for one mesh."""

    def __init__(self, examining: Examining) -> None:
        self._examining = examining

    async def proxies(self, request: Request) -> Response:
        """`GET /v1/proxies`."""
        return answer(await self._examining.examine(), pretty="pretty" in request.query_params)
