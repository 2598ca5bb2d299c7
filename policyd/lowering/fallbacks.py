"""Pass: every fallback that is another service exists, can stand in, and may be called by those who are led there.

A caller without a rule of his own to the fallback is not led there (`policyd.model.standby`): here he is told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.service import Service as ServiceIntent
from policyd.lowering.memo import LoweringMemo
from policyd.lowering.services import short
from policyd.lowering.stand_ins import differences
from policyd.lowering.suggestions import Suggestions
from policyd.lowering.work import Work
from policyd.model.access import Access, Rule
from policyd.model.names import Name
from policyd.model.scope import Callers
from policyd.model.service import Service

MOST_NAMED = 3
"""Callers that a message names; more are counted."""


def fallbacks(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about fallbacks that are other services; changes no value."""
    names = memo.kept("fallbacks of", tuple(work.services))
    found: list[Finding] = []
    for document in work.of_kind("Service"):
        if cast("ServiceIntent", document.intent).spec.failover and document.name in work.services:
            read = _read(work, document.name)
            slot = ("fallbacks", document.id)
            found += memo.value(
                slot,
                (document, names, work.settings, *read),
                lambda: tuple(_check(work, document)),  # noqa: B023
            )
    return work.with_findings((*found, *_loops(work)))


def _read(work: Work, name: Name) -> list[object]:
    """What the check of a service looks at: it, its fallbacks, and their rules."""
    others = [each.service for each in work.services[name].failover if each.service is not None]
    return [of.get(other) for other in (name, *others) for of in (work.services, work.access)]


def _check(work: Work, document: Document) -> Iterator[Finding]:
    service = work.services[document.name]
    known = Suggestions(lambda: (short(name, document.name.namespace) for name in work.services))
    for number, fallback in enumerate(service.failover):
        to = fallback.service
        if to is None or to == service.name:
            continue
        there = work.services.get(to)
        if there is not None:
            yield from _differences(document, number, service, there)
            yield from _callers(work, document, number, service, there)
        elif not work.may_exist(to):
            text = short(to, document.name.namespace)
            yield document.finding("PD1203", f"there is no service `{text}`", *_at(number), hint=known.of(text))


def _at(number: int) -> tuple[str | int, ...]:
    return ("spec", "failover", number, "service")


def _differences(document: Document, number: int, service: Service, there: Service) -> Iterator[Finding]:
    """What a call that was made for one service meets at the other."""
    here, other = service.name.name, short(there.name, service.name.namespace)
    if service.protocol is not there.protocol:
        yield document.finding(
            "PD1243",
            f"`{here}` speaks {service.protocol.value} and `{other}` {there.protocol.value}",
            *_at(number),
            hint="a fallback speaks what the service speaks",
        )
        return
    for message, hint in differences(service, there, other):
        yield document.finding("PD1244", message, *_at(number), hint=hint, severity=Severity.WARNING)


def _callers(work: Work, document: Document, number: int, service: Service, there: Service) -> Iterator[Finding]:
    """Who may call the service and would not be let in at the fallback, or not with all that he calls."""
    here, other = service.name.name, short(there.name, service.name.namespace)
    mine, theirs = (_rules_by_caller(work, work.access.get(each.name)) for each in (service, there))
    callers = [name for name in mine if name not in {service.name, there.name}]
    shut_out = [short(name, service.name.namespace) for name in callers if name not in theirs]
    if shut_out:
        yield document.finding(
            "PD1245",
            f"{_listed(shut_out)} may call `{here}` but not `{other}`, and {'is' if len(shut_out) == 1 else 'are'} "
            "not led there",
            *_at(number),
            hint=f"an `AccessRule` with `to: {there.name.name}` and `from: [{shut_out[0]}]`, in namespace "
            f"`{there.name.namespace}`",
            severity=Severity.WARNING,
        )
    for name in callers:
        lost = _denied(mine[name], theirs[name]) if name in theirs else ""
        if lost:
            yield document.finding(
                "PD1246",
                f"`{short(name, service.name.namespace)}` may call `{lost}` of `{here}` and not of `{other}`, "
                "which answers 403",
                *_at(number),
                hint="the rules to a fallback allow what is called of the service",
                severity=Severity.WARNING,
            )
            return


def _rules_by_caller(work: Work, access: Access | None) -> Mapping[Name, list[Rule]]:
    """The enforced rules of a destination by the services that they name, in order of name."""
    found: dict[Name, list[Rule]] = {}
    domain = work.settings.trust_domain if work.settings is not None else ""
    for rule in access.enforced if access is not None else ():
        for name in Callers.of(Access(rule.name, (rule,)), domain).among(work.services.keys()):
            found.setdefault(name, []).append(rule)
    return dict(sorted(found.items()))


def _denied(mine: list[Rule], theirs: list[Rule]) -> str:
    """A method and a path that the caller may use here and, as far as each permit tells alone, not there."""
    permits = [permit for rule in theirs for permit in rule.permits]
    for rule in mine:
        for permit in rule.permits:
            for method in permit.methods:
                for path in permit.paths:
                    if not any(other.covers(method, path, other.ports) for other in permits):
                        return f"{method} {path}"
    return ""


def _loops(work: Work) -> Iterator[Finding]:
    """Services that lead to each other: when both are down, or too slow, each gets the load of the other."""
    to = {
        name: [each.service for each in service.failover if each.service is not None and each.service != name]
        for name, service in work.services.items()
        if service.failover
    }
    documents = {document.name: document for document in work.of_kind("Service")} if to else {}
    for name, targets in to.items():
        for target in targets:
            way = _way(target, name, to)
            if way:
                number = [each.service for each in work.services[name].failover].index(target)
                shown = " -> ".join(short(each, name.namespace) for each in (name, *way))
                yield documents[name].finding(
                    "PD1240",
                    f"the fallbacks lead back to where they began: {shown}",
                    *_at(number),
                    hint="when both are down the load of each falls on the other; take one of the lines away",
                )


def _way(start: Name, end: Name, to: Mapping[Name, list[Name]]) -> tuple[Name, ...]:
    """The names from `start` to `end`, both included; empty where no way leads there."""
    waiting: list[tuple[Name, ...]] = [(start,)]
    seen = {start}
    while waiting:
        way = waiting.pop(0)
        if way[-1] == end:
            return way
        for following in to.get(way[-1], ()):
            if following not in seen:
                seen.add(following)
                waiting.append((*way, following))
    return ()


def _listed(names: list[str]) -> str:
    shown = [f"`{name}`" for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        return f"{', '.join(shown)} and {len(names) - MOST_NAMED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
