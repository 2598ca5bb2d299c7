"""Pass: each `Route` becomes part of the service that it is about, so that both are released as one change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.route import Override as OverrideIntent
from policyd.intents.route import Retry as RetryIntent
from policyd.intents.route import Route as RouteIntent
from policyd.intents.route import Rule as RuleIntent
from policyd.intents.route import Sticky as StickyIntent
from policyd.intents.route import Target as TargetIntent
from policyd.intents.route_actions import Fault as FaultIntent
from policyd.intents.route_actions import Mirror as MirrorIntent
from policyd.intents.route_actions import Redirect as RedirectIntent
from policyd.intents.route_actions import Rewrite as RewriteIntent
from policyd.intents.route_matches import CookieCondition, HeaderCondition, QueryCondition
from policyd.intents.route_matches import Match as MatchIntent
from policyd.lowering import grpc
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name
from policyd.model.resilience import Retries
from policyd.model.route import Carrier, Condition, How, Match, Override, Route, RouteRule, Sticky, Target
from policyd.model.route_actions import Fault, Mirror, Redirect, Rewrite
from policyd.model.service import Service


@dataclass(frozen=True, slots=True)
class AimedRoute:
    """A route, and the service that it is about."""

    to: Name
    route: Route


def routes(work: Work, memo: LoweringMemo) -> Work:
    """Put each route into its service; one that aims at no service of its own namespace says nothing."""
    documents = work.of_kind("Route")
    pieces = memo.pieces("Route", documents, _route)
    home: dict[Name, Document] = {}
    found: dict[Name, Service] = {}
    findings: list[Finding] = []
    for document, piece in zip(documents, pieces, strict=True):
        to, route = piece.value.to, piece.value.route
        other = home.setdefault(to, document)
        service = work.services.get(to)
        if other is not document:
            findings.append(_second(document, other, to))
        elif service is not None and to.namespace == route.name.namespace:
            found[to] = _routed(service, route, memo)
    services = {**work.services, **found} if found else work.services
    return replace(work, services=services).with_pieces(memo, "Route", pieces).with_findings(findings)


def _routed(service: Service, route: Route, memo: LoweringMemo) -> Service:
    return memo.value(
        ("routed", service.name),
        (service, route),
        lambda: replace(service, route=grpc.judged_route(service.protocol, route)),
    )


def _second(document: Document, other: Document, to: Name) -> Finding:
    return document.finding(
        "PD1250",
        f"`{to.name}` already has a route, in {other.locate('metadata', 'name')}",
        "spec",
        "to",
        hint="the order of rules is the order in one file: put them together",
    )


def _route(document: Document) -> Piece[AimedRoute]:
    spec = cast("RouteIntent", document.intent).spec
    namespace = document.name.namespace
    to = Name.parse(spec.to, namespace)
    rules = tuple(_rule(rule, number, to, namespace) for number, rule in enumerate(spec.rules, 1))
    return Piece(AimedRoute(to, Route(document.name, rules)), said_by(document))


def rule_name(rule: RuleIntent, number: int) -> str:
    """What a rule is called; the `number` of the first is 1."""
    return rule.name or f"rule-{number}"


def _rule(rule: RuleIntent, number: int, to: Name, namespace: str) -> RouteRule:
    return RouteRule(
        name=rule_name(rule, number),
        match=match(rule.match) if rule.match is not None else Match(),
        targets=tuple(_target(target, to, namespace) for target in rule.split),
        override=_override(rule.resilience) if rule.resilience is not None else Override(),
        sticky=_sticky(rule.sticky),
        mirrors=tuple(_mirror(mirror, to, namespace) for mirror in rule.mirror),
        fault=_fault(rule.fault),
        redirect=redirect(rule.redirect),
        rewrite=rewrite(rule.rewrite),
    )


def match(said: MatchIntent) -> Match:
    """Which requests, in an order of its own."""
    return Match(
        hosts=tuple(sorted(set(said.hosts))),
        paths=tuple(sorted(set(said.paths), key=str)),
        methods=tuple(sorted(set(said.methods))),
        headers=_conditions(said.headers),
        query=_conditions(said.query),
        cookies=_conditions(said.cookies),
    )


def _conditions(said: Mapping[str, HeaderCondition | QueryCondition | CookieCondition]) -> tuple[Condition, ...]:
    found = []
    for name, compared in sorted(said.items()):
        if compared.present:
            found.append(Condition(name, how=How.PRESENT))
        elif compared.prefix is not None:
            found.append(Condition(name, compared.prefix, How.PREFIX))
        else:
            found.append(Condition(name, compared.exact or ""))
    return tuple(found)


def _target(target: TargetIntent, to: Name, namespace: str) -> Target:
    """The service itself needs no name: a target that names it has none, nor a version."""
    service = Name.parse(target.service, namespace) if target.service is not None else to
    return Target(target.weight, target.version or "", None if service == to else service)


def _override(override: OverrideIntent) -> Override:
    timeout = override.timeout
    return Override(timeout.request, timeout.per_try, timeout.idle, _retries(override.retries))


def _retries(retries: RetryIntent | None) -> Retries | None:
    if retries is None:
        return None
    return Retries(retries.attempts, tuple(sorted(set(retries.on))), tuple(sorted(set(retries.methods))))


def _sticky(sticky: StickyIntent | None) -> Sticky | None:
    if sticky is None:
        return None
    if sticky.cookie is not None:
        return Sticky(Carrier.COOKIE, sticky.cookie, -(-(sticky.ttl or 0) // 1_000))
    return Sticky(Carrier.HEADER, sticky.header or "")


def _mirror(mirror: MirrorIntent, to: Name, namespace: str) -> Mirror:
    service = Name.parse(mirror.service, namespace) if mirror.service is not None else to
    return Mirror(mirror.share, mirror.version or "", None if service == to else service)


def _fault(fault: FaultIntent | None) -> Fault | None:
    if fault is None:
        return None
    delay, abort = fault.delay, fault.abort
    return Fault(
        delay_ms=delay.time if delay is not None else 0,
        delay_share=delay.share if delay is not None else 0,
        abort_status=abort.status if abort is not None else 0,
        abort_share=abort.share if abort is not None else 0,
    )


def redirect(said: RedirectIntent | None) -> Redirect | None:
    """Where a client is sent; what is not said stays empty."""
    if said is None:
        return None
    path = str(said.path) if said.path is not None else ""
    return Redirect(said.code, said.scheme or "", said.host or "", path)


def rewrite(said: RewriteIntent | None) -> Rewrite | None:
    """What arrives in place of what was asked."""
    if said is None:
        return None
    return Rewrite(str(said.path) if said.path is not None else "", said.host or "")
