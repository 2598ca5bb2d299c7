"""What becomes of a request to a destination: the rules of its route, in order, each with its ways.

host -> txn.route (the rule that is taken) -> txn.draw (a number for each request, or for each client) -> a backend
"""

from __future__ import annotations

from collections.abc import Iterator

from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.model.names import Name
from policyd.model.route import Carrier, Condition, How, Match, RouteRule, Sticky
from policyd.model.service import Service
from policyd.model.ways import Fork, Known, forks
from policyd_compilers.haproxy import replies, route_actions
from policyd_compilers.haproxy.access import path_in
from policyd_compilers.haproxy.names import backend, condition
from policyd_compilers.haproxy.text import argument, word

_UNROUTED = "{ var(txn.route) -m str -- split first }"


def taken(service: Service) -> Iterator[str]:
    """The lines that find the rule of a request: none is looked at once one was taken."""
    named = condition(service.name, "named")
    for number, rule in enumerate(_rules(service), 1):
        parts = []
        for part, lines in _asked(rule.match):
            name = f"{condition(service.name, f'rule-{number}')}:{part}"
            parts.append(name)
            yield from (f"acl {name} {line}" for line in lines)
        asked = " ".join([named, _UNROUTED, *parts])
        yield f"http-request set-var(txn.route) str({argument(_route_name(rule))}) if {asked}"


def ways(service: Service, known: Known, caller: Name) -> Iterator[str]:
    """The lines that share the requests of each rule: the draw first, then the backends."""
    for rule in _rules(service):
        found = forks(service, rule, known)
        here = _here(service, rule)
        if rule.redirect is not None:
            yield from route_actions.redirect(rule.redirect, here)
            continue
        if rule.rewrite is not None:
            yield from route_actions.rewrite(rule, rule.rewrite, here)
        if not found[-1].ways:
            yield replies.deny(403, NOT_IN_SCOPE, f"if {here}", caller)
            continue
        for fork in found:
            yield from _draw(rule, fork, here)


def backends(service: Service, known: Known) -> Iterator[str]:
    """The choice among backends: by the header that a canary takes first, then by the draw."""
    for rule in _rules(service):
        for fork in forks(service, rule, known):
            below = 0
            total = sum(way.weight for way in fork.ways)
            for way in fork.ways:
                below += way.weight
                draw = f" {{ var(txn.draw) -m int lt {below} }}" if below < total else ""
                where = f"{_here(service, rule)}{_brought(fork)}{draw}"
                yield f"use_backend {backend(way.service, way.version)} if {where}"


def _rules(service: Service) -> tuple[RouteRule, ...]:
    return service.route.rules if service.route is not None else ()


def _route_name(rule: RouteRule) -> str:
    return f"rule:{rule.name}"


def _here(service: Service, rule: RouteRule) -> str:
    return f"{condition(service.name, 'named')} {{ var(txn.route) -m str -- {word(_route_name(rule))} }}"


def _brought(fork: Fork) -> str:
    return "".join(
        f" {{ req.fhdr({argument(header.name)}) -m str -- {word(header.value)} }}" for header in fork.headers
    )


def _draw(rule: RouteRule, fork: Fork, here: str) -> Iterator[str]:
    """A number below the sum of the weights. The first fork that is met has made it: its headers are asked first."""
    if len(fork.ways) < 2:
        return
    total = sum(way.weight for way in fork.ways)
    meant = f"{here}{_brought(fork)} !{{ var(txn.drawn) -m found }}"
    yield f"http-request set-var(txn.draw) rand({total}) if {meant}"
    if rule.sticky is not None:
        yield from _client(rule.sticky, meant, here)
        number = f"var(txn.client),xxh32,mod({total})"
        yield f"http-request set-var(txn.draw) {number} if {meant} {{ var(txn.client) -m found }}"
    yield f"http-request set-var(txn.drawn) bool(true) if {meant}"


def _client(sticky: Sticky, here: str, answered: str) -> Iterator[str]:
    """Who the client is, and the cookie for one that brought none. Source: RFC 6265, section 4.1."""
    name = argument(sticky.name)
    if sticky.by is Carrier.HEADER:
        yield f"http-request set-var(txn.client) req.fhdr({name}) if {here}"
        return
    yield f"http-request set-var(txn.client) req.cook({name}) if {here}"
    yield f"http-request set-var(txn.given) uuid() if {here} !{{ var(txn.client) -m found }}"
    yield f"http-request set-var(txn.client) var(txn.given) if {here} {{ var(txn.given) -m found }}"
    age = f"; Max-Age={sticky.ttl_s}" if sticky.ttl_s else ""
    given = f"'{sticky.name}=%[var(txn.given)]; Path=/; HttpOnly{age}'"
    yield f"http-after-response add-header set-cookie {given} if {answered} {{ var(txn.given) -m found }}"


def _asked(match: Match) -> Iterator[tuple[str, list[str]]]:
    """What a rule asks for: conditions that must all hold, each with its alternatives."""
    if match.hosts:
        yield "host", [f"var(txn.host) -m str -- {' '.join(map(word, match.hosts))}"]
    if match.paths:
        yield "path", [line for path in match.paths for line in path_in(path)]
    if match.methods:
        yield "method", [f"method {' '.join(match.methods)}"]
    kinds = (("header", "req.fhdr", match.headers), ("query", "url_param", match.query))
    for kind, fetch, conditions in (*kinds, ("cookie", "req.cook", match.cookies)):
        for number, each in enumerate(conditions, 1):
            yield f"{kind}-{number}", [_compared(fetch, each)]


def _compared(fetch: str, each: Condition) -> str:
    value = f"{fetch}({argument(each.name)})"
    if each.how is How.PRESENT:
        return f"{value} -m found"
    return f"{value} -m {'beg' if each.how is How.PREFIX else 'str'} -- {word(each.value)}"
