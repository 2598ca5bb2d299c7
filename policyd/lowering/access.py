"""Pass: `AccessRule` documents become the access of each destination. A service without rules is closed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import cast

from policyd.intents import Document
from policyd.intents.access_rule import AccessRule, Connections, Jwt
from policyd.intents.access_rule import Permit as PermitIntent
from policyd.intents.access_rule import Source as SourceIntent
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Aimed, Work, said_by
from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule, Source
from policyd.model.names import Name
from policyd.model.tokens import TokenCondition


def access(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `rules` and `access`. Rules of a destination that does not exist, or is not theirs, allow nothing."""
    pieces = memo.pieces("AccessRule", work.of_kind("AccessRule"), _rule)
    destinations = memo.kept("destinations", tuple(work.services))
    by_destination = memo.value("access", (destinations, *pieces), lambda: _access(destinations, pieces, memo))
    return replace(work, rules=pieces, access=by_destination).with_pieces(memo, "AccessRule", pieces)


def _access(
    destinations: tuple[Name, ...], pieces: tuple[Piece[Aimed], ...], memo: LoweringMemo
) -> dict[Name, Access]:
    rules: defaultdict[Name, list[Rule]] = defaultdict(list)
    for piece in pieces:
        aimed = piece.value
        if aimed.to.namespace == aimed.rule.name.namespace:
            rules[aimed.to].append(aimed.rule)
    return {to: _of(to, rules.get(to, []), memo) for to in destinations}


def _of(to: Name, rules: list[Rule], memo: LoweringMemo) -> Access:
    ordered = tuple(sorted(rules, key=attrgetter("name")))
    return memo.value(("Access", to), ordered, lambda: Access(to, ordered))


def _rule(document: Document) -> Piece[Aimed]:
    spec = cast("AccessRule", document.intent).spec
    namespace = document.name.namespace
    rule = Rule(
        name=document.name,
        sources=tuple(_source(source, namespace) for source in spec.from_),
        permits=tuple(_permit(permit) for permit in spec.allow),
        mode=Mode(spec.mode),
        expires=spec.expires,
        token=_token(spec.jwt),
        replaces=tuple(sorted({Name(namespace, replaced) for replaced in spec.replaces})),
    )
    return Piece(Aimed(Name.parse(spec.to, namespace), rule), said_by(document))


def _source(source: SourceIntent, namespace: str) -> Source:
    """Order inside a field means nothing, so it is sorted away: reordering a list changes no value."""
    return Source(
        services=tuple(sorted({Name.parse(text, namespace) for text in source.service})),
        namespaces=tuple(sorted(set(source.namespace))),
        identities=tuple(sorted(set(source.identity))),
        anyone=source.anyone is True,
        ip_blocks=tuple(sorted(set(source.ip_block))),
    )


def _permit(permit: PermitIntent | Connections) -> Permit:
    if isinstance(permit, Connections):
        return Permit.of_connections(tuple(sorted(set(permit.ports))))
    methods = (ANY_METHOD,) if ANY_METHOD in permit.methods else tuple(sorted(set(permit.methods)))
    return Permit(methods, tuple(sorted(set(permit.paths), key=str)), tuple(sorted(set(permit.ports))))


def _token(jwt: Jwt | None) -> TokenCondition | None:
    if jwt is None:
        return None
    claims = ((name, tuple(sorted(set(values)))) for name, values in sorted(jwt.claims.items()))
    return TokenCondition(jwt.issuer, tuple(claims))
