"""Pass: everything that is named exists, and everything that is aimed at is the team's own.

What is missing was lowered to a value that allows nothing; here it becomes a finding as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.access_rule import AccessRule, Permit
from policyd.intents.canary_split import CanarySplit
from policyd.intents.openslo import Slo as SloIntent
from policyd.intents.rollout_strategy import TOUCHED, RolloutStrategy
from policyd.intents.translate import nearest
from policyd.lowering.connections import of_rule
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.services import short
from policyd.lowering.suggestions import Suggestions
from policyd.lowering.work import Aimed, Work
from policyd.model.access import Rule, Source
from policyd.model.names import Name, parse_spiffe_id
from policyd.model.paths import PathPattern
from policyd.model.service import Protocol, Service
from policyd.model.slo import External

EVERY_PATH = PathPattern((), rest=True)


def references(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about names; changes no value."""
    return work.with_findings([*_access_rules(work, memo), *_splits(work, memo), *_strategies(work), *_slos(work)])


def _access_rules(work: Work, memo: LoweringMemo) -> tuple[Finding, ...]:
    """Checked again only where a rule changed, or what rules can refer to did."""
    names = memo.kept("destinations", tuple(work.services))
    blind = memo.kept("blind", tuple(service for service in work.services.values() if _is_blind(service)))
    broken = memo.kept("broken", work.broken)
    documents = work.of_kind("AccessRule")
    aimed = dict(zip(documents, work.rules, strict=True))
    namespaces = {name.namespace for name in names}

    def check(document: Document) -> Piece[None]:
        return Piece(None, (), tuple(_check_rule(work, document, aimed[document].value, namespaces)))

    ports = memo.kept("ports", tuple(service.port for service in work.services.values()))
    checked = memo.pieces("checked", documents, check, (work.settings, names, blind, broken, ports))
    return (*(finding for piece in checked for finding in piece.findings), *_replaced(work, aimed))


def _check_rule(work: Work, document: Document, aimed: Aimed, namespaces: set[str]) -> Iterator[Finding]:
    services = known_services(work, document)
    others = Suggestions(lambda: sorted(namespaces))
    yield from target(work, document, aimed.to, services, "to")
    yield from _conditions(work, document, aimed.rule, aimed.to)
    yield from _ports(work, document, aimed)
    yield from _issuer(work, document, aimed.rule)
    for number, source in enumerate(aimed.rule.sources):
        yield from _sources(work, document, number, source, services)
        for namespace in source.namespaces:
            if namespace not in namespaces:
                yield _empty(document, number, namespace, others.of(namespace))


def known_services(work: Work, document: Document) -> Suggestions:
    """The services, as the document would write them."""
    namespace = document.name.namespace
    return Suggestions(lambda: (short(service, namespace) for service in work.services))


def _is_blind(service: Service) -> bool:
    """Whether rules cannot judge the requests to a service by their paths."""
    return service.opaque_paths or service.protocol is Protocol.TCP


def target(work: Work, document: Document, to: Name, services: Suggestions, *path: str) -> Iterator[Finding]:
    """A service that is aimed at: it exists, in the namespace of who aims."""
    namespace = document.name.namespace
    if to.namespace != namespace:
        yield document.finding(
            "PD1207",
            f"`{to}` is not in namespace `{namespace}`",
            "spec",
            *path,
            hint="only the team that owns a service says who may call it and how it changes",
        )
    else:
        yield from exists(work, document, to, services, "spec", *path)


def exists(work: Work, document: Document, name: Name, services: Suggestions, *path: str | int) -> Iterator[Finding]:
    """A service that is named, of whatever namespace."""
    if name in work.services or work.may_exist(name):
        return
    text = short(name, document.name.namespace)
    yield document.finding("PD1203", f"there is no service `{text}`", *path, hint=services.of(text))


def _sources(work: Work, document: Document, number: int, source: Source, services: Suggestions) -> Iterator[Finding]:
    for name in source.services:
        yield from exists(work, document, name, services, *_where(document, number, "service"))
    for identity in source.identities:
        own = parse_spiffe_id(work.settings.trust_domain, identity) if work.settings is not None else None
        if own is not None:
            yield from exists(work, document, own, services, *_where(document, number, "identity"))


def _empty(document: Document, number: int, namespace: str, hint: str) -> Finding:
    return document.finding(
        "PD1220",
        f"there is no service in namespace `{namespace}`",
        *_where(document, number, "namespace"),
        severity=Severity.WARNING,
        hint=hint,
    )


def _where(document: Document, number: int, field: str) -> tuple[str | int, ...]:
    said = document.raw["spec"]["from"][number]
    return ("spec", "from", number, field) if isinstance(said, dict) else ("spec", "from", number)


def _conditions(work: Work, document: Document, rule: Rule, to: Name) -> Iterator[Finding]:
    """Rules cannot judge what a destination does not show: paths that are opaque, requests that are none."""
    service = work.services.get(to)
    if service is None:
        return
    yield from of_rule(document, service)
    if not service.opaque_paths or service.protocol is Protocol.TCP:
        return
    spec = cast("AccessRule", document.intent).spec
    for number, permit in enumerate(spec.allow):
        if isinstance(permit, Permit) and set(permit.paths) != {EVERY_PATH}:
            yield document.finding(
                "PD1209",
                f"`{to.name}` has `opaquePaths`, so that no rule can tell its paths apart",
                *("spec", "allow", number, "paths"),
                hint="write `paths: [/**]`, or take `opaquePaths` away",
            )


def _ports(work: Work, document: Document, aimed: Aimed) -> Iterator[Finding]:
    service = work.services.get(aimed.to)
    for number, permit in enumerate(aimed.rule.permits if service is not None else ()):
        assert service is not None
        for port in permit.ports:
            if port == service.port:
                continue
            yield document.finding(
                "PD1221",
                f"`{aimed.to.name}` has no port {port}",
                *("spec", "allow", number, "ports"),
                hint=f"its port is {service.port}; a rule without `ports` means it",
            )


def _issuer(work: Work, document: Document, rule: Rule) -> Iterator[Finding]:
    if rule.token is None or work.settings is None:
        return
    known = [issuer.name for issuer in work.settings.issuers]
    if rule.token.issuer not in known:
        hint = nearest(rule.token.issuer, known) if known else "`issuers` of the `Mesh` say whose tokens are believed"
        yield document.finding(
            "PD1222", f"the mesh has no issuer `{rule.token.issuer}`", *("spec", "jwt", "issuer"), hint=hint
        )


def _replaced(work: Work, aimed: Mapping[Document, Piece[Aimed]]) -> Iterator[Finding]:
    """What an observed rule stands for is a rule of the same destination. Few rules do, so nothing is remembered."""
    standing = [(document, piece.value) for document, piece in aimed.items() if piece.value.rule.replaces]
    if not standing:
        return
    by_destination: defaultdict[Name, set[Name]] = defaultdict(set)
    for piece in work.rules:
        by_destination[piece.value.to].add(piece.value.rule.name)
    for document, observer in standing:
        own, rules = observer.rule.name, by_destination[observer.to]
        others = _other_rules(rules, own)
        for name in observer.rule.replaces:
            if (name == own or name not in rules) and not work.may_exist(name):
                yield document.finding(
                    "PD1223",
                    f"`{observer.to.name}` has no rule `{name.name}`",
                    *("spec", "replaces"),
                    hint=others.of(name.name),
                )


def _other_rules(rules: Collection[Name], own: Name) -> Suggestions:
    return Suggestions(lambda: sorted(rule.name for rule in rules if rule != own))


def _splits(work: Work, memo: LoweringMemo) -> tuple[Finding, ...]:
    """Checked again only where a split changed, or what splits can refer to did."""
    names = memo.kept("aims of splits", (tuple(work.services), work.broken))
    sources = ((name, getattr(slo.indicator, "source", "")) for name, slo in work.slos.items())
    gates = memo.kept("gates of splits", tuple(sources))

    def check(document: Document) -> Piece[None]:
        spec = cast("CanarySplit", document.intent).spec
        aim = Name.parse(spec.service, document.name.namespace)
        found = target(work, document, aim, known_services(work, document), "service")
        return Piece(None, (), (*found, *_gates(work, document, spec.gates)))

    checked = memo.pieces("checked splits", work.of_kind("CanarySplit"), check, (names, gates))
    return tuple(finding for piece in checked for finding in piece.findings)


def _strategies(work: Work) -> Iterator[Finding]:
    for document in work.of_kind("RolloutStrategy"):
        gates = cast("RolloutStrategy", document.intent).spec.gates
        if gates != (TOUCHED,):
            yield from _gates(work, document, gates)


def _gates(work: Work, document: Document, gates: tuple[str, ...]) -> Iterator[Finding]:
    said = document.raw["spec"].get("gates")
    known = Suggestions(lambda: (short(name, document.name.namespace) for name in work.slos))
    for number, gate in enumerate(gates):
        path: tuple[str | int, ...] = ("spec", "gates", number) if isinstance(said, list) else ("spec", "gates")
        name = Name.parse(gate, document.name.namespace)
        slo = work.slos.get(name)
        if slo is None and work.may_exist(name):
            continue
        if slo is None:
            hint = known.of(gate) if work.slos else "no SLO is defined; `slo:` in a service makes some"
            yield document.finding("PD1205", f"there is no SLO `{gate}`", *path, hint=hint)
        elif isinstance(slo.indicator, External):
            yield document.finding(
                "PD1215",
                f"`{gate}` is measured by `{slo.indicator.source}`, which the proxies do not know",
                *path,
                hint="gate on an SLO that is measured by `type: policyd`",
            )


def _slos(work: Work) -> Iterator[Finding]:
    for document in work.of_kind("SLO"):
        service = cast("SloIntent", document.intent).spec.service
        aim = Name.parse(service, document.name.namespace)
        yield from target(work, document, aim, known_services(work, document), "service")
