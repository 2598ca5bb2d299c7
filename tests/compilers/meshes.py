"""Small meshes, built from the model's own types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.service import Endpoint, Protocol, Service, Split, Version

SETTINGS = Settings("shop", "shop.example")
WEB = Name("shop", "web")
PAYMENTS = Name("pay", "payments")


def endpoint(address: str, zone: str = "") -> Endpoint:
    return Endpoint(address, address if address.startswith("127.") else "127.0.0.1", 8080, zone)


def service(name: Name, **versions: list[str]) -> Service:
    """An HTTP service whose first version serves; one address makes one instance."""
    found = tuple(
        Version(version, tuple(endpoint(address) for address in sorted(addresses)))
        for version, addresses in sorted(versions.items())
    )
    return Service(name, Protocol.HTTP, 8080, found, Split.all_to(found[0].name))


def rule(
    to: Name,
    sources: Iterable[Source] = (Source(services=(WEB,)),),
    methods: tuple[str, ...] = ("*",),
    paths: tuple[str, ...] = ("/**",),
    name: str = "rule",
    mode: Mode = Mode.ENFORCE,
) -> Rule:
    permit = Permit(methods, tuple(PathPattern.parse(path) for path in paths))
    return Rule(Name(to.namespace, name), tuple(sources), (permit,), mode)


def mesh(services: Iterable[Service], *rules: tuple[Name, Rule], settings: Settings = SETTINGS) -> Mesh:
    by_name = {each.name: each for each in sorted(services, key=lambda each: each.name)}
    access = {
        name: Access(name, tuple(sorted((r for to, r in rules if to == name), key=lambda r: r.name)))
        for name in by_name
    }
    return Mesh(settings, by_name, access)


def with_service(of: Mesh, changed: Service) -> Mesh:
    """The same mesh but for one service."""
    return replace(of, services={**of.services, changed.name: changed})


def shop() -> Mesh:
    """`web` may call `payments`, which has two versions; nobody may call `web`."""
    return mesh(
        [
            service(WEB, v1=["10.0.0.1", "10.0.0.2"]),
            service(PAYMENTS, v1=["10.0.1.1"], v2=["10.0.2.1"]),
            service(Name("shop", "other"), v1=["10.0.3.1"]),
        ],
        (PAYMENTS, rule(PAYMENTS, paths=("/v1/charges", "/v1/charges/{id}"), methods=("GET", "POST"))),
    )
