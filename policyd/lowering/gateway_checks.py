"""Pass: what gateways name exists, every route of theirs can be reached, and nobody takes one for a service.

Nothing is changed here: where no rule lets a gateway call a service, its proxies have no way there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.access_rule import AccessRule
from policyd.intents.canary_split import CanarySplit
from policyd.intents.openslo import Slo
from policyd.intents.place import Step
from policyd.intents.route import Route
from policyd.intents.service import Service as ServiceIntent
from policyd.intents.translate import nearest
from policyd.lowering.headers import unseen
from policyd.lowering.memo import LoweringMemo
from policyd.lowering.references import exists, known_services
from policyd.lowering.rewrites import untold
from policyd.lowering.services import short
from policyd.lowering.work import Work
from policyd.model.access import Access
from policyd.model.gateway import Entry, Gateway, overlapping
from policyd.model.names import Name
from policyd.model.paths import EVERYTHING
from policyd.model.scope import Callers
from policyd.model.service import Protocol, Service


@dataclass(frozen=True, slots=True)
class _Checked:
    """A gateway beside what it is checked against."""

    work: Work
    document: Document
    gateway: Gateway

    def finding(
        self, code: str, message: str, number: int, *path: Step, hint: str = "", warn: bool = False
    ) -> Finding:
        """About something in the route with that number, from 0."""
        severity = Severity.WARNING if warn else Severity.ERROR
        return self.document.finding(code, message, "spec", "routes", number, *path, hint=hint, severity=severity)


def gateway_checks(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about gateways, and about intents that treat one as a service that is called."""
    documents = work.of_kind("Gateway")
    if not documents:
        return work
    found: list[Finding] = []
    for document in documents:
        service = work.services.get(document.name)
        if service is not None and service.gateway is not None:
            found.extend(_all(_Checked(work, document, service.gateway)))
    edges = {name for name, service in work.services.items() if service.gateway is not None}
    return work.with_findings([*found, *_referring(work, edges)])


def _all(checked: _Checked) -> Iterator[Finding]:
    yield from _issuer(checked)
    counted = Counter(entry.rule.name for entry in checked.gateway.entries)
    for number, entry in enumerate(checked.gateway.entries):
        if counted[entry.rule.name] > 1:
            counted[entry.rule.name] = 0
            yield checked.finding("PD1263", f"two routes are called `{entry.rule.name}`", number, "name")
        yield from _reached(checked, number, entry)
        for condition in entry.rule.match.headers:
            if hint := unseen(condition.name):
                said = f"no route can look at the header `{condition.name}`"
                yield checked.finding("PD1259", said, number, *("match", "headers"), hint=hint)
        yield from _rewrite(checked, number, entry)
        if entry.to is not None:
            yield from _leads(checked, number, entry, entry.to)


def _issuer(checked: _Checked) -> Iterator[Finding]:
    asked, settings = checked.gateway.issuer, checked.work.settings
    known = [issuer.name for issuer in settings.issuers] if settings is not None else [asked]
    if asked and asked not in known:
        hint = nearest(asked, known) if known else "`issuers` of the `Mesh` say whose tokens are believed"
        yield checked.document.finding(
            "PD1222", f"the mesh has no issuer `{asked}`", *("spec", "jwt", "issuer"), hint=hint
        )


def _reached(checked: _Checked, number: int, entry: Entry) -> Iterator[Finding]:
    """A route is only reached by what a listener takes in and no route before it takes."""
    taking = [each for each in checked.gateway.listeners if each.certificate or each.plaintext]
    for host in entry.rule.match.hosts:
        if not any(overlapping(each.hosts, [host]) for each in taking):
            yield checked.finding(
                "PD1289", f"no listener takes requests for `{host}`", number, *("match", "hosts"),
                hint="name a host of a listener, as clients ask for it",
            )  # fmt: skip
    for earlier, before in enumerate(checked.gateway.entries[:number]):
        if before.rule.match.covers(entry.rule.match):
            place = checked.document.locate("spec", "routes", earlier)
            yield checked.finding(
                "PD1251",
                f"no request gets to `{entry.rule.name}`: `{before.rule.name}` before it takes them all, in {place}",
                number,
                hint="the first route that matches is taken: put the one that asks for more first",
            )
            return


def _rewrite(checked: _Checked, number: int, entry: Entry) -> Iterator[Finding]:
    rewrite = entry.rule.rewrite
    for pattern in entry.rule.match.paths or (EVERYTHING,):
        if rewrite is not None and rewrite.path and (wrong := untold(rewrite, pattern)) is not None:
            message, hint, of_path = wrong
            yield checked.finding("PD1265", message, number, "rewrite", *(("path",) if of_path else ()), hint=hint)


def _leads(checked: _Checked, number: int, entry: Entry, to: Name) -> Iterator[Finding]:
    work, namespace = checked.work, checked.document.name.namespace
    yield from exists(
        work, checked.document, to, known_services(work, checked.document), "spec", "routes", number, "to"
    )
    there, named = work.services.get(to), short(to, namespace)
    if there is None:
        return
    if (why := _no_way(there)) is not None:
        yield checked.finding("PD1287", f"`{named}` {why}", number, "to", hint="lead to a service of the mesh")
        return
    yield from _let(checked, number, entry, there)
    if there.route is not None:
        yield checked.finding(
            "PD1291",
            f"`{named}` has a route, whose rules requests from a gateway do not take",
            number,
            "to",
            hint="say here what holds for them; weights of a canary and failover hold for everybody",
            warn=True,
        )


def _no_way(there: Service) -> str | None:
    if there.gateway is not None:
        return "is a gateway, which nobody calls from inside"
    if there.external is not None:
        return "is an external host: a gateway is no way out"
    return "speaks `tcp`, which has no requests" if there.protocol is Protocol.TCP else None


def _let(checked: _Checked, number: int, entry: Entry, there: Service) -> Iterator[Finding]:
    """Whether rules of the service let this gateway in, with what arrives."""
    work, own = checked.work, checked.document.name
    if work.settings is None:
        return
    access, domain = work.access.get(there.name, Access(there.name)), work.settings.trust_domain
    naming = [
        rule for rule in access.enforced if own in Callers.of(replace(access, rules=(rule,)), domain).among([own])
    ]
    named = short(there.name, own.namespace)
    if not naming:
        yield checked.finding(
            "PD1288",
            f"no rule of `{named}` lets `{own.name}` in: what goes there is answered 403",
            number,
            "to",
            hint=f"an `AccessRule` with `to: {there.name.name}` and `from: [{short(own, there.name.namespace)}]`",
            warn=True,
        )
        return
    rewrite = entry.rule.rewrite
    for pattern in entry.rule.match.paths or (EVERYTHING,):
        arriving = rewrite.arriving(pattern) if rewrite is not None else pattern
        permitted = (path for rule in naming for permit in rule.permits for path in permit.paths)
        if not there.opaque_paths and not any(path.overlaps(arriving) for path in permitted):
            yield checked.finding(
                "PD1288",
                f"no rule of `{named}` lets `{own.name}` call `{arriving}`, which is what arrives there",
                number,
                "to",
                hint="rules judge the path that arrives",
                warn=True,
            )


def _referring(work: Work, edges: set[Name]) -> Iterator[Finding]:
    """Where an intent names a gateway in the place of a service that is called."""
    kinds = ("AccessRule", "CanarySplit", "Route", "SLO", "Service")
    for document in (each for kind in kinds for each in work.of_kind(kind)):
        for text, path in _named(document):
            name = Name.parse(text, document.name.namespace)
            if name in edges:
                said = short(name, document.name.namespace)
                yield document.finding(
                    "PD1287",
                    f"`{said}` is a gateway, which nobody calls from inside",
                    *path,
                    hint="name a service of the mesh; rules name gateways in `from`",
                )


def _named(document: Document) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The services that a document is about or leads to, and where it says so."""
    match document.intent:
        case AccessRule(spec=spec):
            yield spec.to, ("spec", "to")
        case CanarySplit(spec=split):
            yield split.service, ("spec", "service")
        case Slo(spec=slo):
            yield slo.service, ("spec", "service")
        case Route(spec=route):
            yield route.to, ("spec", "to")
            for number, rule in enumerate(route.rules):
                aims = (
                    ((each.service, "split") for each in rule.split),
                    ((each.service, "mirror") for each in rule.mirror),
                )
                for aim in aims:
                    yield from ((name, ("spec", "rules", number, field)) for name, field in aim if name is not None)
        case ServiceIntent(spec=service):
            for number, fallback in enumerate(service.failover):
                if fallback.service is not None:
                    yield fallback.service, ("spec", "failover", number)
