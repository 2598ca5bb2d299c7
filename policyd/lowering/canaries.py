"""Pass: each `CanarySplit` becomes the plan by which its service changes version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.canary_split import CanarySplit
from policyd.lowering import balancing
from policyd.lowering.headers import unseen
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name
from policyd.model.release import CanaryPlan, OnFailure, OnInconclusive
from policyd.model.service import HeaderMatch

MIN_REQUESTS = 50
"""What a step waits for when the split does not say: enough to tell a broken version from a lucky one."""


def canaries(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `canaries`, by service; a service has one."""
    documents = work.of_kind("CanarySplit")
    pieces = memo.pieces("CanarySplit", documents, _plan)
    plans: dict[Name, CanaryPlan] = {}
    home: dict[Name, Document] = {}
    findings: list[Finding] = []
    for document, piece in zip(documents, pieces, strict=True):
        plan = piece.value
        other = home.setdefault(plan.service, document)
        if other is not document:
            findings.append(_second(document, other, plan.service))
        elif plan.service.namespace == plan.name.namespace:
            plans[plan.service] = plan
            service = work.services.get(plan.service)
            found = balancing.by_key(document, service) if service is not None else None
            findings.extend([found] if found is not None else [])
    done = replace(work, canaries=dict(sorted(plans.items())))
    return done.with_pieces(memo, "CanarySplit", pieces).with_findings(findings)


def _second(document: Document, other: Document, service: Name) -> Finding:
    return document.finding(
        "PD1213",
        f"`{service.name}` already has a split, in {other.locate('metadata', 'name')}",
        "spec",
        "service",
        hint="one split says how every change of the version is taken",
    )


def _first(document: Document, first: HeaderMatch | None) -> Iterator[Finding]:
    if first is not None and (why := unseen(first.name)):
        message = f"no request can be known by the header `{first.name}`"
        yield document.finding("PD1259", message, "spec", "first", "header", hint=why)


def _plan(document: Document) -> Piece[CanaryPlan]:
    spec = cast("CanarySplit", document.intent).spec
    namespace = document.name.namespace
    first = None
    if spec.first is not None:
        ((header, value),) = spec.first.header.items()
        first = HeaderMatch(header, value)
    plan = CanaryPlan(
        name=document.name,
        service=Name.parse(spec.service, namespace),
        steps=spec.steps,
        hold_s=spec.hold / 1_000,
        gates=tuple(dict.fromkeys(Name.parse(gate, namespace) for gate in spec.gates)),
        first=first,
        min_requests=spec.min_requests if spec.min_requests is not None else MIN_REQUESTS,
        on_failure=OnFailure(spec.on_failure),
        on_inconclusive=OnInconclusive(spec.on_inconclusive),
        deadline_s=spec.deadline / 1_000,
        max_refused=spec.max_refused,
    )
    return Piece(plan, said_by(document), tuple(_first(document, first)))
