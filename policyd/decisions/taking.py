"""Which rule of a route takes a request, in the caller's own sidecar, before anybody judges it; and how it arrives.

    question -> taking -> arrivals -> index

A caller without a way to a service has no route of it either; nor has an identity of another trust domain, whose
sidecar is not ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from policyd.decisions.request import Request
from policyd.model import route
from policyd.model.mesh import Mesh
from policyd.model.names import Name, parse_spiffe_id
from policyd.model.paths import EVERYTHING
from policyd.model.route_actions import rewritten
from policyd.model.scope import Callers, Scope
from policyd.model.service import Service
from policyd.model.ways import forks

FOR_SURE = route.Match()


@dataclass(frozen=True, slots=True)
class Taken:
    """A rule that takes a request (`None`: none does), as long as what `unknown` asks for holds besides."""

    rule: route.RouteRule | None = None
    unknown: route.Match = FOR_SURE


def taking(mesh: Mesh, request: Request) -> tuple[Taken, ...]:
    """The rules that may take a request, in order; the last one, or none, does so for sure where no other does.

    Of a question that says nothing of headers, or of the host, it is not known whether conditions on these hold.
    """
    service = mesh.services.get(request.destination)
    if service is None or service.route is None or not _has_way(mesh, request):
        return (Taken(),)
    host = request.host.lower().partition(":")[0].removesuffix(".")
    asked = route.Request(request.method, request.path, host, request.headers or ())
    found = []
    for rule in service.route.rules:
        unknown = _unknown(rule.match, request)
        known = replace(
            rule.match,
            hosts=() if unknown.hosts else rule.match.hosts,
            headers=() if unknown.headers else rule.match.headers,
            cookies=() if unknown.cookies else rule.match.cookies,
        )
        if known.matches(asked):
            found.append(Taken(rule, unknown))
            if unknown == FOR_SURE:
                return tuple(found)
    return (*found, Taken())


def arrivals(mesh: Mesh, request: Request, rule: route.RouteRule | None, at: datetime) -> tuple[Request, ...]:
    """The request as it arrives at each service that the rule may send it to, the largest share first.

    A service that the caller may not call at all gets no share, the others have it: see `model.ways`. Where none is
    left, they are all there: whatever they say, it is no.
    """
    service, caller = (
        mesh.services.get(request.destination),
        parse_spiffe_id(mesh.settings.trust_domain, request.source),
    )
    if rule is None or service is None or caller is None:
        return (request,)
    arrives = request._replace(path=rewritten_by(rule, request))

    def known(name: Name) -> Service | None:
        return mesh.services.get(name) if _may_call(mesh, caller, name, at) else None

    shares: dict[Name, int] = {}
    for way in forks(service, rule, known)[-1].ways or forks(service, rule, mesh.services.get)[-1].ways:
        shares[way.service] = shares.get(way.service, 0) + way.weight
    names = sorted((name for name, share in shares.items() if share), key=lambda name: (-shares[name], name))
    return tuple(_at(arrives, name) for name in names) or (arrives,)


def rewritten_by(rule: route.RouteRule, request: Request) -> str:
    """The path as the rule lets it arrive, with its query."""
    if rule.redirect is not None or rule.rewrite is None or not rule.rewrite.path:
        return request.path
    path, mark, query = request.path.partition("?")
    pattern = next((each for each in rule.match.paths if each.matches(path)), EVERYTHING)
    return rewritten(path, pattern, rule.rewrite.path) + mark + query


def _unknown(match: route.Match, request: Request) -> route.Match:
    """What of a match the question says nothing about."""
    return route.Match(
        hosts=() if request.host else match.hosts,
        headers=match.headers if request.headers is None else (),
        cookies=match.cookies if request.headers is None else (),
    )


def _at(request: Request, service: Name) -> Request:
    """Only the service that was called has the port that was asked about."""
    return request if service == request.destination else request._replace(destination=service, port=None)


def _has_way(mesh: Mesh, request: Request) -> bool:
    caller = parse_spiffe_id(mesh.settings.trust_domain, request.source)
    return caller is not None and request.destination in Scope.of(mesh).destinations(caller)


def _may_call(mesh: Mesh, caller: Name, service: Name, at: datetime) -> bool:
    """Whether some rule lets it; one that has ended is in no sidecar any more."""
    if service not in Scope.of(mesh).destinations(caller):
        return False
    access = mesh.access[service]
    if all(rule.expires is None for rule in access.rules):
        return True
    holding = tuple(rule for rule in access.rules if rule.expires is None or at < rule.expires)
    return caller in Callers.of(replace(access, rules=holding), mesh.settings.trust_domain).among((caller,))
