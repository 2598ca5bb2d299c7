"""Judges a commit: documents -> one question to the engine -> findings with their places, less exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from policyd.base.diagnostics import Finding, Location, in_order
from policyd.guardrails.bundle import Bundle
from policyd.guardrails.document import Subject, describe, subjects
from policyd.guardrails.encoding import decode
from policyd.guardrails.engine import Engine
from policyd.guardrails.exceptions import with_exceptions
from policyd.guardrails.memory import Verdicts, can_be_remembered
from policyd.guardrails.metadata import RuleInfo, rules
from policyd.guardrails.verdict import Report, reports
from policyd.intents import Document, Loaded


async def check(
    loaded: Loaded, engine: Engine, at: datetime, bundles: Iterable[Bundle], verdicts: Verdicts | None = None
) -> tuple[Finding, ...]:
    """What the rules of all `bundles` say about the documents at the instant `at`, in order.

    A commit is judged by the rules promoted before it and by its own: give both bundles, equal ones count once.
    With the `verdicts` of the checks before, the shipped rules are asked only about documents that are new to them.
    Raises `Retry` or `Stalled` where the engine has no answer: the commit is then neither taken nor dropped.
    """
    about = subjects(loaded.documents)
    known: dict[str, RuleInfo] = {}
    said: dict[Report, None] = {}
    for bundle in {bundle.digest: bundle for bundle in bundles}.values():
        known |= rules(bundle)
        if verdicts is not None and can_be_remembered(bundle):
            said |= dict.fromkeys(await verdicts.judge(bundle, engine, loaded.documents, about, at))
        else:
            if verdicts is not None:
                verdicts.asked += len(loaded.documents)
            question = describe(loaded.documents, about, at)
            said |= dict.fromkeys(reports(decode(await engine.evaluate(bundle, question))))
    return judged(loaded.documents, about, said, known, at)


def judged(
    documents: Iterable[Document],
    about: Iterable[Subject],
    said: Iterable[Report],
    known: Mapping[str, RuleInfo],
    at: datetime,
) -> tuple[Finding, ...]:
    """Findings for what was `said` by the rules `known`, with the documents' exceptions applied."""
    findings: list[Finding] = []
    by_document: dict[int, list[Report]] = {}
    pairs = list(zip(documents, about, strict=True))
    for report in said:
        if 0 <= report.document < len(pairs):
            by_document.setdefault(report.document, []).append(report)
        else:
            info = _info(report, known)
            severity = info.severity(warns=report.warns, critical=True)
            findings.append(Finding(info.code, severity, report.message, Location("."), report.hint))
    exemptible: dict[str, bool] = {}
    for info in known.values():
        # A code that several rules share is exemptible only where all of them are.
        exemptible[info.code] = info.exemptible and exemptible.get(info.code, True)
    for position, (document, subject) in enumerate(pairs):
        if position in by_document or document.exemptions:
            own = [_finding(document, subject, report, known) for report in by_document.get(position, ())]
            findings.extend(with_exceptions(document, own, exemptible, at))
    return in_order(findings)


def _finding(document: Document, subject: Subject, report: Report, known: Mapping[str, RuleInfo]) -> Finding:
    info = _info(report, known)
    severity = info.severity(warns=report.warns, critical=subject.critical)
    return document.finding(info.code, report.message, *report.path, hint=report.hint, severity=severity)


def _info(report: Report, known: Mapping[str, RuleInfo]) -> RuleInfo:
    return known.get(report.package, RuleInfo(report.package))
