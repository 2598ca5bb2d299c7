"""A case that shows a disagreement, made small: whatever can be left out while it still shows is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from policyd.decisions import NO_TOKEN
from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh
from tests.conformance.sent import Sent

Case = tuple[Mesh, Sent]


def smaller(mesh: Mesh, sent: Sent, shows: Callable[[Mesh, Sent], bool]) -> Case:
    """The smallest case that `shows` still holds of, one step at a time; `shows` holds of the given one."""
    case = (mesh, sent)
    while (found := next((each for each in _steps(*case) if shows(*each)), None)) is not None:
        case = found
    return case


def _steps(mesh: Mesh, sent: Sent) -> Iterator[Case]:
    to = sent.destination
    for name in mesh.services:
        if name != to:
            services = {each: service for each, service in mesh.services.items() if each != name}
            yield replace(mesh, services=services, access={each: mesh.access[each] for each in services}), sent
    if to in mesh.access:
        for access in _accesses(mesh.access[to]):
            yield replace(mesh, access={**mesh.access, to: access}), sent
    for each in _requests(sent):
        yield mesh, each


def _accesses(access: Access) -> Iterator[Access]:
    if access.revoked:
        yield replace(access, revoked=())
    for at, rule in enumerate(access.rules):
        before, behind = access.rules[:at], access.rules[at + 1 :]
        yield replace(access, rules=(*before, *behind))
        for each in _rules(rule):
            yield replace(access, rules=(*before, each, *behind))


def _rules(rule: Rule) -> Iterator[Rule]:
    plain = replace(rule, mode=Mode.ENFORCE, replaces=())
    yield from (each for each in (plain, replace(rule, expires=None), replace(rule, token=None)) if each != rule)
    if rule.token is not None and rule.token.claims:
        yield replace(rule, token=replace(rule.token, claims=rule.token.claims[1:]))
    for at, source in enumerate(rule.sources):
        before, behind = rule.sources[:at], rule.sources[at + 1 :]
        if len(rule.sources) > 1:
            yield replace(rule, sources=(*before, *behind))
        for fewer in _without_a_value(source):
            yield replace(rule, sources=(*before, fewer, *behind))
    for at, permit in enumerate(rule.permits):
        first, last = rule.permits[:at], rule.permits[at + 1 :]
        if len(rule.permits) > 1:
            yield replace(rule, permits=(*first, *last))
        for less in _less(permit):
            yield replace(rule, permits=(*first, less, *last))


def _without_a_value(source: Source) -> Iterator[Source]:
    for field in ("services", "namespaces", "identities", "ip_blocks"):
        for value in getattr(source, field):
            fewer: dict[str, Any] = {field: tuple(each for each in getattr(source, field) if each != value)}
            yield replace(source, **fewer)
    if source.anyone:
        yield replace(source, anyone=False)


def _less(permit: Permit) -> Iterator[Permit]:
    for field, fewest in (("methods", 2), ("paths", 2), ("ports", 1)):
        values = getattr(permit, field)
        if len(values) >= fewest:
            for value in values:
                yield replace(permit, **{field: tuple(each for each in values if each != value)})


def _requests(sent: Sent) -> Iterator[Sent]:
    plain: dict[str, Any] = {
        "headers": (),
        "ip": "",
        "port": None,
        "http2": False,
        "hosts": ("a",),
        "path": sent.path.partition("?")[0],
    }
    for field, value in plain.items():
        if getattr(sent, field) != value:
            yield replace(sent, **{field: value})
    if sent.token != NO_TOKEN:
        yield replace(sent, token=NO_TOKEN, forged="")
    for name in sent.token.claims:
        claims = {other: claim for other, claim in sent.token.claims.items() if other != name}
        yield replace(sent, token=replace(sent.token, claims=claims))
