"""What differs between the promoted mesh and the head of Git, unit by unit, and what one change does to a mesh.

changes(promoted, head) -> Change per unit -> stages -> positions -> effective -> steps
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from policyd.model.access import Access
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.service import Service
from policyd.plan.change import Change, Unit, Value
from policyd.plan.runtime import same_decision

T = TypeVar("T")
Needs = tuple[tuple[Unit, Name], ...]


def changes(promoted: Mesh, head: Mesh) -> tuple[Change, ...]:
    """The changes that lead from `promoted` to `head`: settings, then services, then access, each by name.

    Objects that both hold are skipped without a look inside. Changes stay separate units with stages and a
    quarantine of their own; where one refers to what another adds or closes, `needs` puts them in order: rules
    and fallbacks and routes wait for services that are new, a service is removed after the access to it and after the
    fallbacks and routes that lead there.
    """
    settings: tuple[Change, ...] = ()
    if promoted.settings.digest != head.settings.digest:
        name = Name("", head.settings.name)
        settings = (Change(Unit.SETTINGS, name, promoted.settings, head.settings),)
    access = _access_changes(promoted, head)
    closed = {change.name for change in access if change.target is None}
    return (*settings, *_service_changes(promoted, head, closed), *access)


def _service_changes(promoted: Mesh, head: Mesh, closed: Collection[Name]) -> tuple[Change, ...]:
    found: list[Change] = []
    for name in _differing(promoted.services, head.services):
        base, target = promoted.services.get(name), head.services.get(name)
        if base is not None and target is not None and same_decision(base, target):
            continue
        if target is None:
            needs: Needs = ((Unit.ACCESS, name),) if name in closed else ()
            needs += tuple((Unit.SERVICE, other) for other in _no_longer_leading_to(name, promoted, head))
        else:
            new = (_led_to(target, routes=base is not None) & head.services.keys()) - promoted.services.keys()
            needs = tuple((Unit.SERVICE, one) for one in sorted(new))
        found.append(Change(Unit.SERVICE, name, base, target, needs))
    return tuple(found)


def _led_to(service: Service | None, *, routes: bool = True) -> set[Name]:
    """Where calls to a service go on or are sent. What is new takes no turns, so its routes wait for nobody."""
    if service is None:
        return set()
    routed = service.route.services if routes and service.route is not None else ()
    edge = service.gateway.services if service.gateway is not None else ()
    return {each.service for each in service.failover if each.service is not None} | {*routed, *edge}


def _no_longer_leading_to(name: Name, promoted: Mesh, head: Mesh) -> list[Name]:
    """The services whose calls go on at `name` now, and will not."""
    leading = [other for other, service in promoted.services.items() if name in _led_to(service)]
    return [other for other in leading if name not in _led_to(head.services.get(other))]


def _access_changes(promoted: Mesh, head: Mesh) -> tuple[Change, ...]:
    found: list[Change] = []
    for name in _differing(promoted.access, head.access):
        base, target = promoted.access.get(name), head.access.get(name)
        if _says_the_same(base, target):
            continue
        new = {service for service in _referred(target) if service in head.services} - promoted.services.keys()
        found.append(Change(Unit.ACCESS, name, base, target, tuple((Unit.SERVICE, one) for one in sorted(new))))
    return tuple(found)


def _differing(before: Mapping[Name, T], after: Mapping[Name, T]) -> list[Name]:
    """Names whose values are not the very same object, sorted."""
    if before is after:
        return []
    names = [name for name, value in after.items() if before.get(name) is not value]
    names.extend(before.keys() - after.keys())
    return sorted(names)


def _says_the_same(base: Access | None, target: Access | None) -> bool:
    if base is None or target is None:
        return not any(access.rules for access in (base, target) if access is not None)
    return base.digest == target.digest


def _referred(access: Access | None) -> set[Name]:
    if access is None:
        return set()
    named = {service for rule in access.rules for source in rule.sources for service in source.services}
    return named | {access.to}


def advance(promoted: Mesh, change: Change) -> Mesh:
    """`promoted` with the change's target in the place of its base. Every service keeps an access entry."""
    return replaced(promoted, {change.key: change.target})


def replaced(mesh: Mesh, values: Mapping[tuple[Unit, Name], Value]) -> Mesh:
    """`mesh` with other values for some of its units (`None` takes one away); the rest are the same objects."""
    if not values:
        return mesh
    settings, services, access = mesh.settings, dict(mesh.services), dict(mesh.access)
    for (unit, name), value in values.items():
        match unit, value:
            case Unit.SETTINGS, Settings():
                settings = value
            case Unit.SERVICE, Service():
                services[name] = value
                access.setdefault(name, Access(name))
            case Unit.SERVICE, None:
                services.pop(name, None)
                access.pop(name, None)
            case Unit.ACCESS, Access() | None:
                access[name] = value if value is not None else Access(name)
            case _:
                raise TypeError(f"{type(value).__name__} is no value of a {unit.value} unit")
    return replace(
        mesh,
        settings=settings,
        services=_in_order(services, mesh.services),
        access=_in_order({name: one for name, one in access.items() if name in services}, mesh.access),
    )


def _in_order(values: dict[Name, T], before: Mapping[Name, T]) -> dict[Name, T]:
    """Sorted by name; taking away and replacing keep the order, only adding needs the sort."""
    return values if values.keys() <= before.keys() else dict(sorted(values.items()))
