"""Pass: what routes name exists, every rule can be reached, and what a rule does to whom is said.

Nothing is changed here: what a route must not do it does not do in any data plane either. A service that a caller may
not call gets none of its requests, whatever a route says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.compiler.naming import host_names
from policyd.intents import Document
from policyd.intents.place import Step
from policyd.intents.route import Route as RouteIntent
from policyd.intents.translate import nearest
from policyd.lowering.headers import unseen
from policyd.lowering.memo import LoweringMemo
from policyd.lowering.redirects import round_trip
from policyd.lowering.references import exists, known_services, target
from policyd.lowering.services import short
from policyd.lowering.work import Work
from policyd.model.access import Access
from policyd.model.names import Name
from policyd.model.paths import EVERYTHING
from policyd.model.route import Carrier, Route, RouteRule
from policyd.model.scope import Callers
from policyd.model.service import WHOLE, Protocol, Service

ELSEWHERE = {"host": "hosts", "cookie": "cookies", "upgrade": "methods", "connection": "methods"}
_NAMED_CALLERS = 3


@dataclass(frozen=True, slots=True)
class _Checked:
    """A route beside what it is checked against."""

    work: Work
    document: Document
    to: Name
    route: Route

    @property
    def service(self) -> Service | None:
        return self.work.services.get(self.to)

    def finding(
        self,
        code: str,
        message: str,
        number: int,
        *path: Step,
        hint: str = "",
        severity: Severity = Severity.ERROR,
        at_key: bool = False,
    ) -> Finding:
        """About something in the rule with that number, from 0."""
        here = ("spec", "rules", number, *path)
        return self.document.finding(code, message, *here, hint=hint, severity=severity, at_key=at_key)

    def at_target(self, number: int, index: int, field: str = "") -> tuple[Step, ...]:
        """Where a target of a split stands: `split` may be one of them, or a list."""
        listed = isinstance(self.document.raw["spec"]["rules"][number].get("split"), list)
        return ("split", *((index,) if listed else ()), *((field,) if field else ()))


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
        checked = _Checked(work, document, to, own)
        found.extend(memo.value(("checked route", document.name), (*read, *others), partial(_findings, checked)))
    return work.with_findings(found)


def _findings(checked: _Checked) -> tuple[Finding, ...]:
    return tuple(_all(checked))


def _all(checked: _Checked) -> Iterator[Finding]:
    service = checked.service
    assert service is not None
    if service.protocol is Protocol.TCP:
        yield checked.document.finding(
            "PD1260", f"`{service.name.name}` speaks `tcp`, which has no requests to match", "spec", "to"
        )
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
        yield from _targets(checked, number, rule)
        yield from _beside_canary(checked, number, rule)
        yield from _bounds(checked, number, rule, service)
        yield from _sticky(checked, number, rule)
        yield from _mirrors(checked, number, rule)
        yield from _elsewhere(checked, number, rule)
        yield from _arriving(checked, number, rule)


def _names(checked: _Checked) -> Iterator[Finding]:
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


def _reached(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
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


def _hosts(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
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


def _headers(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    named: list[tuple[str, tuple[Step, ...]]] = [
        (condition.name, ("match", "headers")) for condition in rule.match.headers
    ]
    if rule.sticky is not None and rule.sticky.by is Carrier.HEADER:
        named.append((rule.sticky.name, ("sticky", "header")))
    for name, path in named:
        better = ELSEWHERE.get(name)
        if hint := f"match by `{better}`" if better else unseen(name):
            yield checked.finding("PD1259", f"no rule can look at the header `{name}`", number, *path, hint=hint)


def _targets(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    service = checked.service
    assert service is not None
    suggestions = known_services(checked.work, checked.document)
    seen: set[tuple[str, Name | None]] = set()
    for index, one in enumerate(rule.targets):
        if (one.version, one.service) in seen:
            yield checked.finding("PD1253", "the same target stands twice", number, *checked.at_target(number, index))
        seen.add((one.version, one.service))
        if one.version and service.version(one.version) is None:
            known = [version.name for version in service.versions]
            yield checked.finding(
                "PD1252",
                f"`{service.name.name}` has no version `{one.version}`",
                number,
                *checked.at_target(number, index, "version"),
                hint=nearest(one.version, known),
            )
        if one.service is not None:
            path = ("spec", "rules", number, *checked.at_target(number, index, "service"))
            yield from exists(checked.work, checked.document, one.service, suggestions, *path)
            yield from _other(checked, number, checked.at_target(number, index, "service"), one.service)
    total = sum(one.weight for one in rule.targets)
    if rule.targets and total != WHOLE:
        yield checked.finding(
            "PD1253",
            f"the weights of `{rule.name}` add up to {total / 100:g}, not 100",
            number,
            "split",
            hint="weights are per cent of the requests",
            at_key=True,
        )


def _other(checked: _Checked, number: int, path: tuple[Step, ...], other: Name) -> Iterator[Finding]:
    """Another service takes only the requests of those who may call it by its own access rules."""
    there = checked.work.services.get(other)
    if there is None or checked.work.settings is None:
        return
    named = short(other, checked.document.name.namespace)
    if there.protocol is Protocol.TCP:
        yield checked.finding("PD1260", f"`{named}` speaks `tcp`, which has no requests", number, *path)
        return
    domain, known = checked.work.settings.trust_domain, checked.work.services.keys()
    may, may_too = (
        Callers.of(checked.work.access.get(name, Access(name)), domain).among(known) for name in (checked.to, other)
    )
    if without := sorted(may - may_too - {other}):
        callers = ", ".join(f"`{short(name, checked.document.name.namespace)}`" for name in without[:_NAMED_CALLERS])
        more = f" and {len(without) - _NAMED_CALLERS} more" if len(without) > _NAMED_CALLERS else ""
        yield checked.finding(
            "PD1256",
            f"{callers}{more} may call `{checked.to.name}` and not `{named}`: none of their requests go there",
            number,
            *path,
            severity=Severity.WARNING,
            hint=f"a route opens nothing; an access rule to `{named}` does",
        )


def _beside_canary(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
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


def _bounds(checked: _Checked, number: int, rule: RouteRule, service: Service) -> Iterator[Finding]:
    own, of_service = rule.override, service.resilience.timeouts
    request = own.request_ms if own.request_ms is not None else of_service.request_ms
    if own.per_try_ms is not None and own.per_try_ms > request:
        yield checked.finding(
            "PD1264",
            f"one try may last longer than the whole call, {request} ms",
            number,
            *("resilience", "timeout", "perTry"),
            hint="`perTry` is at most `request`, here or in the service",
        )
    if own.request_ms is not None and 0 < of_service.stream_ms < own.request_ms:
        yield checked.finding(
            "PD1264",
            f"`timeout.stream` of the service ends the call after {of_service.stream_ms} ms",
            number,
            *("resilience", "timeout", "request"),
            hint="`request` is at most the service's `stream`",
        )


def _sticky(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
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


def _mirrors(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    service = checked.service
    assert service is not None
    listed = isinstance(checked.document.raw["spec"]["rules"][number].get("mirror"), list)
    answering = {target.version for target in rule.targets} if len(rule.targets) == 1 else set()
    suggestions = known_services(checked.work, checked.document)
    for index, mirror in enumerate(rule.mirrors):
        path: tuple[Step, ...] = ("mirror", index) if listed else ("mirror",)
        if mirror.version and service.version(mirror.version) is None:
            known = [version.name for version in service.versions]
            said = f"`{service.name.name}` has no version `{mirror.version}`"
            yield checked.finding("PD1252", said, number, *path, hint=nearest(mirror.version, known))
        if mirror.service is not None:
            where = ("spec", "rules", number, *path)
            yield from exists(checked.work, checked.document, mirror.service, suggestions, *where)
            yield from _other(checked, number, path, mirror.service)
        elif not mirror.version or mirror.version in answering:
            yield checked.finding(
                "PD1255",
                f"`{rule.name}` sends a copy of a request to where the request goes itself",
                number,
                *path,
                hint="mirror to another version, or to another service",
            )


def _elsewhere(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
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


def _arriving(checked: _Checked, number: int, rule: RouteRule) -> Iterator[Finding]:
    """The callee judges the path that arrives."""
    rewrite, service = rule.rewrite, checked.service
    if rewrite is None or not rewrite.path or service is None:
        return
    if service.opaque_paths:
        yield checked.finding("PD1259", "opaque paths are not looked into, and not rewritten", number, "rewrite")
        return
    for pattern in rule.match.paths or (EVERYTHING,):
        if pattern.rest and None in pattern.segments:
            yield checked.finding(
                "PD1265",
                f"what a rewrite puts in the place of `{pattern}` cannot be told: its beginning has a `{{name}}`",
                number,
                "rewrite",
                hint="rewrite a path such as `/v1/**`, or a whole path without `/**`",
                at_key=True,
            )
            continue
        if pattern.rest and rewrite.path != "/" and rewrite.path.endswith("/"):
            yield checked.finding(
                "PD1265",
                f"what follows in `{pattern}` begins with `/` and would arrive as `{rewrite.path}/...`",
                number,
                *("rewrite", "path"),
                hint=f"write `{rewrite.path.rstrip('/')}`",
            )
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
