"""Pass: the names in `PolicyTest` documents exist. They are no part of the mesh: `decisions` judges them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.policy_test import PolicyTest
from policyd.intents.translate import nearest
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.services import short
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name


def policy_tests(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about names; checked again only where a test changed, or what tests can name did."""
    names = memo.kept("destinations of tests", tuple(work.services))
    issuers = memo.kept("issuers", tuple(each.name for each in work.settings.issuers) if work.settings else ())
    broken = memo.kept("broken beside tests", work.broken)

    def check(document: Document) -> Piece[None]:
        return Piece(None, said_by(document), tuple(_names(work, document)))

    pieces = memo.pieces("PolicyTest", work.of_kind("PolicyTest"), check, (names, issuers, broken))
    return work.with_pieces(memo, "PolicyTest", pieces)


def _names(work: Work, document: Document) -> Iterator[Finding]:
    """Services by name, of any namespace: a test opens nothing. A whole SPIFFE ID may be a stranger's."""
    namespace = document.name.namespace
    for number, case in enumerate(cast("PolicyTest", document.intent).spec):
        for field, text in (("from", case.from_), ("to", case.to)):
            name = Name.parse(text, namespace)
            if "://" in text or name in work.services or work.may_exist(name):
                continue
            said, known = short(name, namespace), [short(service, namespace) for service in work.services]
            yield document.finding(
                "PD1203", f"there is no service `{said}`", *("spec", number, field), hint=nearest(said, known)
            )
        if case.jwt is None or work.settings is None:
            continue
        issuers = [issuer.name for issuer in work.settings.issuers]
        if case.jwt.issuer not in issuers:
            hint = nearest(case.jwt.issuer, issuers) or "`issuers` of the `Mesh` say whose tokens are believed"
            yield document.finding(
                "PD1222", f"the mesh has no issuer `{case.jwt.issuer}`", *("spec", number, "jwt", "issuer"), hint=hint
            )
