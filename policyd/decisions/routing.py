"""Where an allowed request goes, in words: rules of a route, weights, fallbacks, bounds, tries, what holds it back.

Read from the mesh as its callers' sidecars have it, which is what they were compiled from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from policyd.base.durations import spoken
from policyd.decisions.request import Request
from policyd.decisions.taking import FOR_SURE, rewritten_by, taking
from policyd.model.access import ANY_METHOD
from policyd.model.failover import OTHER_ZONES, Fallback
from policyd.model.mesh import Mesh
from policyd.model.names import DEFAULT_NAMESPACE, parse_spiffe_id
from policyd.model.route import Match, RouteRule
from policyd.model.route_words import outcome, requests
from policyd.model.service import WHOLE, Protocol, Service
from policyd.model.standby import Standby


def routing(mesh: Mesh, request: Request) -> tuple[str, ...]:
    """What becomes of an allowed request to a service of `mesh`, a line each."""
    service = mesh.services[request.destination]
    caller = parse_spiffe_id(mesh.settings.trust_domain, request.source)
    fallbacks = Standby.of(mesh).usable(caller, service) if caller is not None else ()
    said, rule = taken_by(mesh, request), taking(mesh, request)[-1].rule
    if rule is not None:
        if rule.redirect is not None:
            return said
        service = replace(service, resilience=rule.override.over(service.resilience))
    if rule is None or not rule.targets:
        said = (*said, *_versions(service, request, otherwise=bool(said) and rule is None))
        said = (*said, *(_goes_on(each) for each in fallbacks))
    else:
        fallbacks = ()
    if service.protocol is Protocol.TCP:
        return (*said, *_open_for(service, mesh.settings.leaf_s // 2 * 1_000), *_held_back(service))
    tries = _tries(service, request.method, led_on=bool(fallbacks))
    return (*said, *_instance(service), *tries, *_held_back(service))


def diverted(mesh: Mesh, request: Request) -> tuple[str, ...]:
    """Of a request that is denied as it is asked: rules of the route that send the client, or the call, to elsewhere.

    The caller's sidecar does so before the callee judges what arrives.
    """
    said = []
    for rule, unknown in _rules(mesh, request):
        if rule.redirect is not None or _arriving(rule, request):
            with_ = f"with {requests(unknown)} " if unknown != FOR_SURE else ""
            said.append(f"{with_}rule `{rule.name}` of its route takes it before that: {outcome(rule)}")
            said.extend(_arriving(rule, request))
    return tuple(said)


def taken_by(mesh: Mesh, request: Request) -> tuple[str, ...]:
    """The rules of the route that may take the request, up to the one that does, each with what it makes of it."""
    said: list[str] = []
    for rule, unknown in _rules(mesh, request):
        if unknown != FOR_SURE:
            said.append(f"with {requests(unknown)} rule `{rule.name}` of its route takes it: {outcome(rule)}")
        else:
            said.append(f"rule `{rule.name}` of its route takes it{_since(rule)}: {outcome(rule) or 'as any other'}")
        said.extend(_arriving(rule, request))
    return tuple(said)


def _rules(mesh: Mesh, request: Request) -> Iterator[tuple[RouteRule, Match]]:
    for taken in taking(mesh, request):
        if taken.rule is not None:
            yield taken.rule, taken.unknown


def _since(rule: RouteRule) -> str:
    """What a rule asks for that not every such request brings."""
    asked = Match(headers=rule.match.headers, cookies=rule.match.cookies)
    return f", since it brings {requests(asked)}" if asked != FOR_SURE else ""


def _arriving(rule: RouteRule, request: Request) -> tuple[str, ...]:
    """The path that the callee judges, where a rule changes it."""
    arrives = rewritten_by(rule, request).partition("?")[0]
    if arrives == request.bare_path:
        return ()
    return (f"then it arrives as `{arrives}`, and that is what access rules judge",)


def _goes_on(fallback: Fallback) -> str:
    if fallback.service is not None:
        short = fallback.service.namespace == DEFAULT_NAMESPACE
        where = f"at service `{fallback.service.name if short else fallback.service}`"
    elif fallback.version:
        where = f"at `{fallback.version}`"
    else:
        where = "in other zones" if fallback.zone == OTHER_ZONES else f"in zone `{fallback.zone}`"
    return f"while all instances there are down it goes on {where}"


def _versions(service: Service, request: Request, *, otherwise: bool) -> Iterator[str]:
    split = service.split
    if (outside := service.external) is not None:
        how = f"over TLS, as long as its certificate names `{outside.host}`" if outside.roots else "in the clear"
        yield f"it leaves the mesh, to `{outside.host}:{service.port}`, {how}"
        return
    if split.first is not None:
        if (split.first.name, split.first.value) in (request.headers or ()):
            yield f"it goes to `{split.first_version}`, since it brings `{split.first.name}: {split.first.value}`"
            return
        yield f"with `{split.first.name}: {split.first.value}` it goes to `{split.first_version}`"
    heaviest = sorted(split.weights, key=lambda each: (-each[1], each[0]))
    shares = [f"`{version}` with weight {_percent(weight)}" for version, weight in heaviest]
    if len(shares) == 1:
        shares = [f"`{heaviest[0][0]}`"]
    else_ = otherwise or split.first is not None
    yield ("otherwise it goes to " if else_ else "it goes to ") + ", to ".join(shares)
    for version in split.versions:
        found = service.version(version)
        if found is None or not found.endpoints:
            yield f"`{version}` has no instance: what goes there is answered 503"


def _instance(service: Service) -> Iterator[str]:
    """Which instance, where that is by a key; else it is whichever suits the balance."""
    key = service.resilience.load_balancing.key
    if key is not None:
        what = f"header `{key.header}`" if key.header else f"cookie `{key.cookie}`"
        yield f"what has one value of the {what} goes to one instance"


def _tries(service: Service, method: str, *, led_on: bool) -> Iterator[str]:
    """How often it is tried; who is led on is tried again to get there, whatever `retries` says."""
    timeouts, retries = service.resilience.timeouts, service.resilience.retries
    bound = f"answered within {spoken(timeouts.request_ms)}" if timeouts.request_ms else "not bounded in time"
    each = f", each try within {spoken(timeouts.per_try_ms)}" if timeouts.per_try_ms else ""
    if method not in retries.methods and (retries.attempts or led_on):
        yield f"{bound}{each}, tried once: `{method}` may not be sent twice"
    elif not retries.attempts:
        yield f"{bound}{each}, {'tried again only to go on' if led_on else 'tried once'}"
    else:
        on = ", ".join(f"`{condition}`" for condition in retries.on)
        more = f"{retries.attempts} retr{'y' if retries.attempts == 1 else 'ies'}"
        yield f"{bound}{each}, with up to {more} on {on}"


def _open_for(service: Service, longest_ms: int) -> Iterator[str]:
    """How long a connection may last, in all and in silence."""
    timeouts = service.resilience.timeouts
    silent = f", after {spoken(timeouts.idle_ms)} of silence" if timeouts.idle_ms else ""
    longest = spoken(min(timeouts.stream_ms or longest_ms, longest_ms))
    yield f"its bytes pass unseen until one side ends it{silent}, or {longest} have passed"


def _held_back(service: Service) -> Iterator[str]:
    for limit in service.rate_limits:
        whose = "each caller" if limit.each_caller else "all callers together"
        some = "" if limit.methods == (ANY_METHOD,) and not limit.paths else " of some requests"
        yield f"refused with 429 beyond {limit.requests}{some} in {spoken(limit.per_ms)} of {whose}, at each instance"
    breaker, outliers = service.resilience.circuit_breaker, service.resilience.outlier_detection
    if breaker is not None:
        connections = service.protocol is Protocol.TCP
        most = {"connections": breaker.connections} if connections else {"requests": breaker.requests}
        bounds = {**most, "waiting requests": breaker.pending, "retries": breaker.retries}
        said = [f"{bound} {what}" for what, bound in bounds.items() if bound]
        if said:
            how = "refused" if connections else "refused with 503"
            yield f"{how} beyond {', '.join(said)} at once, for each caller's sidecar and version"
    if outliers is not None:
        yield f"instances that keep failing are left out, at most {_percent(outliers.max_ejected)} of them"


def _percent(points: int) -> str:
    return f"{points * 100 / WHOLE:g} %"
