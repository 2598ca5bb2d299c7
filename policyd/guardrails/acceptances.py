"""Losses that an intent accepts by name: what a proxy cannot say, and a person knows it.

    documents' exemptions + losses of the compilers -> warnings in place of errors, and notes

`# policyd: allow PD1308 until 2027-01-31 because ...` accepts that the rule beside it is left out where a proxy
cannot judge it. The rule stays left out: what is accepted is the narrowing, and nothing makes it wider. Whether such
a comment may stand at all (owner, end) is judged with those about rules (`exceptions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from policyd.base.diagnostics import Finding, Severity
from policyd.compiler.artifact import Loss
from policyd.compiler.losses import ACCEPTABLE
from policyd.guardrails.exceptions import held, not_needed, refusal
from policyd.intents import Document, Exemption
from policyd.model.names import Name

_EXEMPTIBLE = dict.fromkeys(ACCEPTABLE, True)


class Acceptances:
    """What the documents of one tree accept at the instant `at`."""

    def __init__(self, documents: Iterable[Document], at: datetime) -> None:
        self._accepted: dict[tuple[str, str, Name], Exemption] = {}
        self._used: dict[tuple[str, str, Name], Finding] = {}
        for document in documents:
            for exemption in document.exemptions:
                if exemption.code in ACCEPTABLE and refusal(document, exemption, _EXEMPTIBLE, at) is None:
                    self._accepted[exemption.code, document.kind, document.name] = exemption

    def heeded(self, loss: Loss, finding: Finding) -> Finding:
        """What is said of a loss: `finding`, as a warning where the intent that it is about accepts it."""
        key = (loss.code, loss.about.kind, loss.about.name)
        accepted = self._accepted.get(key)
        if accepted is None:
            return finding
        self._used.setdefault(key, held(accepted, finding))
        until = f"{accepted.until:%Y-%m-%d}"
        return replace(finding, severity=Severity.WARNING, hint=f"accepted until {until}: {accepted.reason}")

    def notes(self) -> Iterator[Finding]:
        """That each which was used holds, and that nothing needs the others. Ask when all losses are said."""
        for key, exemption in self._accepted.items():
            yield self._used.get(key) or not_needed(exemption)
