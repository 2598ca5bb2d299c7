"""Pass: `AccessRule` documents become the access of each destination. A service without rules is closed."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from policyd.intents import Document
from policyd.intents.access_rule import AccessRule
from policyd.intents.access_rule import Permit as PermitIntent
from policyd.intents.access_rule import Source as SourceIntent
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule, Source
from policyd.model.names import Name


def access(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `rules` and `access`. Rules of a destination that does not exist, or is not theirs, allow nothing."""
    pieces = [memo.piece("AccessRule", _rule, document) for document in work.of_kind("AccessRule")]
    by_destination: dict[Name, list[Rule]] = {}
    rules: list[tuple[Document, Rule, Name]] = []
    for document, piece in zip(work.of_kind("AccessRule"), pieces, strict=True):
        to, rule = piece.value
        rules.append((document, rule, to))
        if to.namespace == rule.name.namespace:
            by_destination.setdefault(to, []).append(rule)
    return replace(
        work,
        rules=tuple(rules),
        access={name: _access(name, by_destination.get(name, []), memo) for name in work.services},
        provenance=(*work.provenance, *(piece.provenance for piece in pieces)),
    )


def _access(to: Name, rules: list[Rule], memo: LoweringMemo) -> Access:
    ordered = tuple(sorted(rules, key=lambda rule: rule.name))
    return memo.value(("Access", to), ordered, lambda: Access(to, ordered))


def _rule(document: Document) -> Piece[tuple[Name, Rule]]:
    spec = cast("AccessRule", document.intent).spec
    namespace = document.name.namespace
    rule = Rule(
        name=document.name,
        sources=tuple(_source(source, namespace) for source in spec.from_),
        permits=tuple(_permit(permit) for permit in spec.allow),
        mode=Mode(spec.mode),
        expires=spec.expires,
    )
    return Piece((Name.parse(spec.to, namespace), rule), said_by(document))


def _source(source: SourceIntent, namespace: str) -> Source:
    """Order inside a field means nothing, so it is sorted away: reordering a list changes no value."""
    return Source(
        services=tuple(sorted({Name.parse(text, namespace) for text in source.service})),
        namespaces=tuple(sorted(set(source.namespace))),
        identities=tuple(sorted(set(source.identity))),
        anyone=source.anyone is True,
    )


def _permit(permit: PermitIntent) -> Permit:
    methods = (ANY_METHOD,) if ANY_METHOD in permit.methods else tuple(sorted(set(permit.methods)))
    return Permit(methods, tuple(sorted(set(permit.paths), key=str)))
