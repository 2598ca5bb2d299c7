"""Pass: the names in `PolicyTest` documents exist, and what their requests bring is seen by somebody.

They are no part of the mesh: `decisions` judges them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.policy_test import PolicyTest
from policyd.intents.translate import nearest
from policyd.lowering.headers import OF_A_CONNECTION, unseen
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.services import short
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name

ELSEWHERE = {"host": "host", "cookie": "cookies"}


def policy_tests(work: Work, memo: LoweringMemo) -> Work:
    """Add the findings about names; checked again only where a test changed, or what tests can name did."""
    names = memo.kept("destinations of tests", tuple(work.services))
    issuers = memo.kept("issuers", tuple(each.name for each in work.settings.issuers) if work.settings else ())
    broken = memo.kept("broken beside tests", work.broken)

    def check(document: Document) -> Piece[None]:
        return Piece(None, said_by(document), (*_names(work, document), *_headers(document)))

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


def _headers(document: Document) -> Iterator[Finding]:
    """What a test must not bring, since no sidecar would see it: the test would hold, and the route not."""
    for number, case in enumerate(cast("PolicyTest", document.intent).spec):
        for name in case.headers:
            if hint := _why_not(name):
                yield document.finding(
                    "PD1259",
                    f"no request can be known by the header `{name}`",
                    *("spec", number, "headers"),
                    hint=hint,
                )


def _why_not(name: str) -> str:
    if name in ELSEWHERE:
        return f"say it in `{ELSEWHERE[name]}`"
    if name in OF_A_CONNECTION:
        return "it is about one connection, and sidecars take it away"
    return unseen(name)
