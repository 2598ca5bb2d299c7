"""Remembers what the shipped rules said of a document, so that a commit asks only about what it changed.

A shipped rule reads one document, what `document` derived for it from the others, and the mesh: nothing else is in
the question that it is asked here, not even the time. All of that is in the key, so that an answer is found again
only where the very same question would be asked. Team rules may read the whole commit; they are always asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from policyd.guardrails.bundle import SHIPPED_ROOT, Bundle
from policyd.guardrails.document import Subject, by_kind, days_left, described, mesh_of
from policyd.guardrails.encoding import decode, encode
from policyd.guardrails.engine import Engine
from policyd.guardrails.verdict import Report, reports
from policyd.intents import Document

REMEMBERED = 100_000
"""Verdicts that are kept; those that were not used for longest go first."""
Verdict = tuple[Report, ...]
"""What all rules said of one document, empty where it is in order. The reports name document 0."""
_Basis = tuple[str, Subject, int | None]


class Verdicts:
    """The memory of one engine. `known` is what an earlier process remembered, by key."""

    def __init__(self, known: Mapping[str, Verdict] | None = None, *, limit: int = REMEMBERED) -> None:
        self._known = dict(known or {})
        self._limit = limit
        self._keys: dict[Document, tuple[_Basis, str]] = {}
        self.asked = 0
        """Documents that an engine was really asked about: a figure for tests and `/metrics`."""
        self.learned = False
        """Whether anything is known now that was not in `known`."""

    @property
    def known(self) -> Mapping[str, Verdict]:
        """Every verdict by key, the one that was used last at the end."""
        return self._known

    async def judge(
        self, bundle: Bundle, engine: Engine, documents: Sequence[Document], about: Sequence[Subject], at: datetime
    ) -> Iterable[Report]:
        """What the shipped rules say of these documents; the engine is asked only about those that are new to it.

        Raises what the engine raises; nothing is remembered then.
        """
        mesh = mesh_of(documents, about)
        keys = self._keys_of(_digest((bundle.digest, mesh)), documents, about, at)
        found = {key: self._known.pop(key) for key in dict.fromkeys(keys) if key in self._known}
        self._known |= found  # used last, forgotten last
        missing = [position for position, key in enumerate(keys) if key not in found]
        if missing:
            some = [(position, documents[position], about[position]) for position in missing]
            question = {"mesh": encode(mesh), "documents": encode(by_kind(some, at))}
            said = list(reports(decode(await engine.evaluate(bundle, question))))
            self.asked += len(missing)
            verdicts = _by_document(missing, said)
            if verdicts is None:
                return said  # about something else than what was asked: shown, and not remembered
            found |= {keys[position]: verdict for position, verdict in verdicts.items()}
            self._learn({keys[position]: verdict for position, verdict in verdicts.items()})
        return [replace(report, document=position) for position, key in enumerate(keys) for report in found[key]]

    def _keys_of(
        self, context: str, documents: Sequence[Document], about: Sequence[Subject], at: datetime
    ) -> list[str]:
        """The key of each document; computed once for as long as the loader gives the same object."""
        before, self._keys = self._keys, {}
        for document, subject in zip(documents, about, strict=True):
            basis = (context, subject, days_left(document, at))
            known = before.get(document)
            if known is None or known[0] != basis:
                known = (basis, _digest((context, document.kind, described(document, subject, basis[2]))))
            self._keys[document] = known
        return [self._keys[document][1] for document in documents]

    def _learn(self, verdicts: Mapping[str, Verdict]) -> None:
        self._known |= verdicts
        self.learned = True
        for key in list(self._known)[: max(len(self._known) - self._limit, 0)]:
            del self._known[key]


def can_be_remembered(bundle: Bundle) -> bool:
    """Whether every rule of the bundle judges each document by itself: the shipped ones do."""
    return bundle.roots == (SHIPPED_ROOT,)


def _by_document(asked: Iterable[int], said: Iterable[Report]) -> Mapping[int, Verdict] | None:
    """The verdict of each document that was asked about; `None` where a report is about none of them."""
    verdicts: dict[int, list[Report]] = {position: [] for position in asked}
    for report in said:
        if report.document not in verdicts:
            return None
        verdicts[report.document].append(replace(report, document=0))
    return {position: tuple(sorted(some, key=repr)) for position, some in verdicts.items()}


def _digest(question: object) -> str:
    """The name of a question. The engines read JSON, too: what is equal here is the same question to them."""
    return hashlib.blake2b(json.dumps(question, sort_keys=True).encode(), digest_size=20).hexdigest()
