"""The working value that the passes hand on: what has been lowered so far, and what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.model.access import Access, Rule
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.model.release import CanaryPlan, Strategy
from policyd.model.revocation import Revocation
from policyd.model.service import Service
from policyd.model.slo import Slo


@dataclass(frozen=True, slots=True)
class Aimed:
    """A rule, and the service that it opens."""

    to: Name
    rule: Rule


@dataclass(frozen=True, slots=True)
class Work:
    """Each pass returns a new one with its part filled in (`dataclasses.replace`).

    `documents` are those of each kind, in order of place. `rules` stand in the order of the
    `AccessRule` documents, so that a later pass can point at what it checks. `broken` are the names of documents
    that could not be loaded: what refers to them is not blamed as well.
    """

    documents: Mapping[str, tuple[Document, ...]]
    broken: frozenset[Name] = frozenset()
    settings: Settings | None = None
    services: Mapping[Name, Service] = field(default_factory=dict)
    rules: tuple[Piece[Aimed], ...] = ()
    access: Mapping[Name, Access] = field(default_factory=dict)
    revocations: Mapping[Name, Revocation] = field(default_factory=dict)
    slos: Mapping[Name, Slo] = field(default_factory=dict)
    canaries: Mapping[Name, CanaryPlan] = field(default_factory=dict)
    strategies: Mapping[Name, Strategy] = field(default_factory=dict)
    strategy: Strategy | None = None
    provenance: Mapping[Key, Provenance] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def may_exist(self, name: Name) -> bool:
        """Whether a document that could not be loaded calls itself so, or is what such an SLO is named after."""
        words = name.name.split("-")
        beginnings = ("-".join(words[:number]) for number in range(1, len(words) + 1))
        return bool(self.broken) and any(Name(name.namespace, each) in self.broken for each in beginnings)

    def of_kind(self, kind: str) -> tuple[Document, ...]:
        """The documents of one kind."""
        return self.documents.get(kind, ())

    def with_pieces(self, memo: LoweringMemo, role: str, pieces: Sequence[Piece[Any]]) -> Work:
        """The same, with what these pieces bring along: provenance and findings."""

        def brought() -> tuple[Mapping[Key, Provenance], tuple[Finding, ...]]:
            provenance = dict(said for piece in pieces for said in piece.provenance)
            return provenance, tuple(finding for piece in pieces for finding in piece.findings)

        provenance, findings = memo.value(("brought", role), tuple(pieces), brought)
        return replace(self, provenance={**self.provenance, **provenance}, findings=(*self.findings, *findings))

    def with_findings(self, findings: Iterable[Finding]) -> Work:
        """The same, with more findings."""
        return replace(self, findings=(*self.findings, *findings))


Pass = Callable[[Work, LoweringMemo], Work]


def by_kind(documents: Iterable[Document]) -> Mapping[str, tuple[Document, ...]]:
    """Documents grouped by kind, in order of place."""
    groups: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        groups[document.kind].append(document)
    return {kind: tuple(group) for kind, group in groups.items()}


def said_by(
    document: Document, kind: str | None = None, name: Name | None = None
) -> tuple[tuple[Key, Provenance], ...]:
    """The provenance of a value that a document says as a whole."""
    key = Key(kind or document.kind, name or document.name)
    return ((key, Provenance(document.locate("metadata", "name"), document.owner)),)
