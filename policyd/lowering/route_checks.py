"""Pass: what routes name exists, every rule can be reached, and what a rule does to whom is said.

Nothing is changed here: what a route must not do it does not do in any data plane either. A service that a caller may
not call gets none of its requests, whatever a route says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.base.durations import spoken
from policyd.compiler.naming import host_names
from policyd.intents.place import Step
from policyd.intents.route import Route as RouteIntent
from policyd.lowering import grpc
from policyd.lowering.checked_route import Checked
from policyd.lowering.headers import unseen
from policyd.lowering.memo import LoweringMemo
from policyd.lowering.redirects import round_trip
from policyd.lowering.references import known_services, target
from policyd.lowering.rewrites import untold
from policyd.lowering.route_targets import mirrors, targets
from policyd.lowering.work import Work
from policyd.model.access import Access
from policyd.model.names import Name
from policyd.model.paths import EVERYTHING
from policyd.model.route import Carrier, RouteRule
from policyd.model.service import Protocol, Service

ELSEWHERE = {"host": "hosts", "cookie": "cookies", "upgrade": "methods", "connection": "methods"}


def route_checks(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about routes; each is checked again only where it changed, or what it looks at did."""
    names = memo.kept("destinations", tuple(work.services))
    broken = memo.kept("broken", work.broken)
    found: list[Finding] = []
    for document in work.of_kind("Route"):
        spec = cast("RouteIntent", document.intent).spec
        to = Name.parse(spec.to, document.name.namespace)
        service = work.services.get(to)
        own = service.route if service is not None else None
        if own is None or own.name != document.name:
            found.extend(target(work, document, to, known_services(work, document), "to"))
            continue
        read = (document, service, work.settings, work.access.get(to), work.canaries.get(to), names, broken)
        others = tuple(look.get(name) for name in own.services for look in (work.services, work.access))
        checked = Checked(work, document, to, own)
        found.extend(memo.value(("checked route", document.name), (*read, *others), partial(_findings, checked)))
    return work.with_findings(found)


def _findings(checked: Checked) -> tuple[Finding, ...]:
    return tuple(_all(checked))


def _all(checked: Checked) -> Iterator[Finding]:
    service = checked.service
    assert service is not None
    if service.protocol is Protocol.TCP:
        yield checked.document.finding(
            "PD1260", f"`{service.name.name}` speaks `tcp`, which has no requests to match", "spec", "to"
        )
    yield from grpc.problems_of_route(checked.document, service.protocol)
    yield from _names(checked)
    for number, rule in enumerate(checked.route.rules):
        yield from _reached(checked, number, rule)
        yield from _hosts(checked, number, rule)
        yield from _headers(checked, number, rule)
        if service.opaque_paths and rule.match.paths:
            yield checked.finding(
                "PD1259",
                f"`{service.name.name}` has `opaquePaths`, so that no rule can tell its paths apart",
                number,
                *("match", "paths"),
                hint="match by header or cookie, or take `opaquePaths` away",
            )
        yield from targets(checked, number, rule)
        yield from _beside_canary(checked, number, rule)
        yield from _bounds(checked, number, rule, service)
        yield from _sticky(checked, number, rule)
        yield from mirrors(checked, number, rule)
        yield from _elsewhere(checked, number, rule)
        yield from _arriving(checked, number, rule)


def _names(checked: Checked) -> Iterator[Finding]:
    counted = Counter(rule.name for rule in checked.route.rules)
    for number, rule in enumerate(checked.route.rules):
        if counted[rule.name] > 1:
            counted[rule.name] = 0
            yield checked.finding(
                "PD1263",
                f"two rules are called `{rule.name}`",
                number,
                "name",
                hint="a rule without a name is called by its number, `rule-1` and so on",
            )


def _reached(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    """A rule is only reached by what no rule before it takes."""
    for earlier, before in enumerate(checked.route.rules[:number]):
        if before.match.covers(rule.match):
            place = checked.document.locate("spec", "rules", earlier)
            yield checked.finding(
                "PD1251",
                f"no request gets to `{rule.name}`: `{before.name}` before it takes them all, in {place}",
                number,
                hint="the first rule that matches is taken: put the one that asks for more first",
            )
            return


def _hosts(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    if checked.work.settings is None:
        return
    known = host_names(checked.work.settings, checked.to, local=True)
    for host in rule.match.hosts:
        if host not in known:
            yield checked.finding(
                "PD1258",
                f"nobody calls `{checked.to.name}` by the name `{host}`",
                number,
                *("match", "hosts"),
                hint="it is called " + ", ".join(f"`{name}`" for name in known),
            )


def _headers(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    named: list[tuple[str, tuple[Step, ...]]] = [
        (condition.name, ("match", "headers")) for condition in rule.match.headers
    ]
    if rule.sticky is not None and rule.sticky.by is Carrier.HEADER:
        named.append((rule.sticky.name, ("sticky", "header")))
    for name, path in named:
        better = ELSEWHERE.get(name)
        if hint := f"match by `{better}`" if better else unseen(name):
            yield checked.finding("PD1259", f"no rule can look at the header `{name}`", number, *path, hint=hint)


def _beside_canary(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    plan = checked.work.canaries.get(checked.to)
    if plan is None or not rule.versions:
        return
    pinned = ", ".join(f"`{version}`" for version in rule.versions)
    yield checked.finding(
        "PD1257",
        f"`{rule.name}` stays with {pinned} while canaries of `{checked.to.name}` move, and no gate looks at it",
        number,
        "split",
        severity=Severity.WARNING,
        hint=f"`split: {{service: {checked.to.name}}}` goes with the canary",
        at_key=True,
    )


def _bounds(checked: Checked, number: int, rule: RouteRule, service: Service) -> Iterator[Finding]:
    own, of_service = rule.override, service.resilience.timeouts
    request = own.request_ms if own.request_ms is not None else of_service.request_ms
    if own.per_try_ms is not None and own.per_try_ms > request:
        yield checked.finding(
            "PD1264",
            f"one try may last longer than the whole call, {spoken(request)}",
            number,
            *("resilience", "timeout", "perTry"),
            hint="`perTry` is at most `request`, here or in the service",
        )
    if own.request_ms is not None and 0 < of_service.stream_ms < own.request_ms:
        yield checked.finding(
            "PD1264",
            f"`timeout.stream` of the service ends the call after {spoken(of_service.stream_ms)}",
            number,
            *("resilience", "timeout", "request"),
            hint="`request` is at most the service's `stream`",
        )
    idle = own.idle_ms if own.idle_ms is not None else of_service.idle_ms
    if idle < request and (own.idle_ms, own.request_ms) != (None, None):
        yield checked.finding(
            "PD1236",
            f"a call whose answer takes its time is ended by {spoken(idle)} of silence first",
            number,
            *("resilience", "timeout", "request" if own.idle_ms is None else "idle"),
            hint="`idle` is at least `request`, here or in the service",
            severity=Severity.WARNING,
        )


def _sticky(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    if rule.sticky is not None and len(rule.targets) == 1 and rule.targets[0].version:
        yield checked.finding(
            "PD1261",
            f"every request of `{rule.name}` goes to `{rule.targets[0].version}`: nobody needs to stay with it",
            number,
            "sticky",
            severity=Severity.WARNING,
            hint="leave `sticky` out, or name a second version",
            at_key=True,
        )


def _elsewhere(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    """A client that is sent elsewhere has nothing else done to its request, and does not come back."""
    if rule.redirect is None:
        return
    raw = checked.document.raw["spec"]["rules"][number]
    for field in ("split", "resilience", "sticky", "mirror", "fault", "rewrite"):
        if field in raw:
            yield checked.finding(
                "PD1254",
                f"`{rule.name}` sends the client elsewhere, so that `{field}` would never do anything",
                number,
                field,
                hint="make it two rules, or leave one of them out",
                at_key=True,
            )
    settings = checked.work.settings
    hosts = host_names(settings, checked.to, local=True) if settings is not None else ()
    way = round_trip(checked.route, rule, hosts)
    if way and min(map(checked.route.rules.index, way)) == number:
        message = f"`{rule.name}` sends the client to where it sends the client again"
        if len(way) > 1:
            message = f"the client is sent round: {' -> '.join(f'`{each.name}`' for each in (*way, rule))}"
        yield checked.finding(
            "PD1266",
            message,
            number,
            "redirect",
            hint="lead to another host, or to a path that the rule does not match",
            at_key=True,
        )


def _arriving(checked: Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    """The callee judges the path that arrives."""
    rewrite, service = rule.rewrite, checked.service
    if rewrite is None or not rewrite.path or service is None:
        return
    if service.opaque_paths:
        yield checked.finding("PD1259", "opaque paths are not looked into, and not rewritten", number, "rewrite")
        return
    for pattern in rule.match.paths or (EVERYTHING,):
        if (wrong := untold(rewrite, pattern)) is not None:
            message, hint, of_path = wrong
            path: tuple[Step, ...] = ("rewrite", "path") if of_path else ("rewrite",)
            yield checked.finding("PD1265", message, number, *path, hint=hint, at_key=not of_path)
            continue
        arriving = rewrite.arriving(pattern)
        for name in rule.services or (checked.to,):
            rules = checked.work.access.get(name, Access(name)).rules
            permitted = (path for access in rules for permit in access.permits for path in permit.paths)
            if not any(path.overlaps(arriving) for path in permitted):
                yield checked.finding(
                    "PD1262",
                    f"no access rule of `{name.name}` allows `{arriving}`, which is what arrives there",
                    number,
                    *("rewrite", "path"),
                    severity=Severity.WARNING,
                    hint="rules judge the path that arrives, not the one that was asked for",
                )
