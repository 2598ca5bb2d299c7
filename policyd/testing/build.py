"""Builders of model values for tests: short to write, everything else as at rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime

from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Releases, Settings
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.resilience import Resilience
from policyd.model.service import Endpoint, HealthCheck, Protocol, Service, Split, Version

PORT = 8080
AT_REST = Resilience()
SETTINGS = Settings("test", "test.example")
RELEASES = Releases()


def endpoint(address: str, port: int = PORT) -> Endpoint:
    """An instance whose application listens where lowering puts it: on a loopback instance's own address."""
    return Endpoint(address, address if address.startswith("127.") else "127.0.0.1", port)


def service(
    name: str,
    versions: Mapping[str, Iterable[str]],
    *,
    serving: str = "",
    protocol: Protocol = Protocol.HTTP,
    resilience: Resilience = AT_REST,
    health_check: HealthCheck | None = None,
    opaque_paths: bool = False,
) -> Service:
    """A service (`name` or `namespace/name`) with instances by version; the first version serves unless said."""
    made = tuple(
        Version(version, tuple(endpoint(one) for one in addresses)) for version, addresses in sorted(versions.items())
    )
    split = Split.all_to(serving or next(iter(versions)))
    return Service(Name.parse(name), protocol, PORT, made, split, resilience, health_check, opaque_paths)


def source(text: str) -> Source:
    """A caller: `*`, `namespace:ops`, a SPIFFE ID, or the name of a service."""
    if text == "*":
        return Source(anyone=True)
    if text.startswith("namespace:"):
        return Source(namespaces=(text.removeprefix("namespace:"),))
    if text.startswith("spiffe://"):
        return Source(identities=(text,))
    return Source(services=(Name.parse(text),))


def rule(
    name: str,
    sources: Iterable[str],
    *permits: str,
    mode: Mode = Mode.ENFORCE,
    expires: datetime | None = None,
) -> Rule:
    """A rule; each permit is methods joined by commas, a space, and a path: `GET,HEAD /v1/{id}`. All, if none."""
    parsed = tuple(_permit(permit) for permit in permits or ("* /**",))
    return Rule(Name.parse(name), tuple(source(text) for text in sources), parsed, mode, expires)


def _permit(text: str) -> Permit:
    methods, _, path = text.partition(" ")
    return Permit(tuple(methods.split(",")), (PathPattern.parse(path),))


def access(to: str, *rules: Rule) -> Access:
    """The rules of one destination, in order of name."""
    return Access(Name.parse(to), tuple(sorted(rules, key=lambda each: each.name)))


def mesh(
    services: Iterable[Service],
    accesses: Iterable[Access] = (),
    *,
    releases: Releases = RELEASES,
    settings: Settings = SETTINGS,
) -> Mesh:
    """A mesh; services without access of their own may be called by nobody."""
    by_name = {each.name: each for each in sorted(services, key=lambda each: each.name)}
    said = {each.to: each for each in accesses}
    return Mesh(settings, by_name, {name: said.get(name, Access(name)) for name in by_name}, releases)


def addresses(count: int, network: str = "10.0") -> Iterable[str]:
    """`count` addresses, none of them twice."""
    numbers = itertools.product(range(256), range(1, 255))
    return [f"{network}.{high}.{low}" for high, low in itertools.islice(numbers, count)]
