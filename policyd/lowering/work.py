"""The working value that the passes hand on: what has been lowered so far, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.lowering.memo import LoweringMemo
from policyd.model.access import Access, Rule
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.model.release import CanaryPlan, Strategy
from policyd.model.service import Service
from policyd.model.slo import Slo


@dataclass(frozen=True, slots=True)
class Work:
    """Each pass returns a new one with its part filled in (`dataclasses.replace`).

    `documents` are those of each kind, in order of place. `rules` are by document, so that later passes can point
    at what they check. `provenance` and `findings` are shared lists that passes only append to.
    """

    documents: Mapping[str, tuple[Document, ...]]
    settings: Settings | None = None
    services: Mapping[Name, Service] = field(default_factory=dict)
    rules: tuple[tuple[Document, Rule, Name], ...] = ()
    access: Mapping[Name, Access] = field(default_factory=dict)
    slos: Mapping[Name, Slo] = field(default_factory=dict)
    canaries: Mapping[Name, CanaryPlan] = field(default_factory=dict)
    strategies: Mapping[Name, Strategy] = field(default_factory=dict)
    strategy: Strategy | None = None
    provenance: tuple[tuple[tuple[Key, Provenance], ...], ...] = ()
    findings: tuple[Finding, ...] = ()

    def of_kind(self, kind: str) -> tuple[Document, ...]:
        """The documents of one kind."""
        return self.documents.get(kind, ())


Pass = Callable[[Work, LoweringMemo], Work]


def by_kind(documents: Iterable[Document]) -> Mapping[str, tuple[Document, ...]]:
    """Documents grouped by kind, each kind and name once: of two that share a name the first is kept."""
    groups: dict[str, dict[Name, Document]] = {}
    for document in documents:
        groups.setdefault(document.kind, {}).setdefault(document.name, document)
    return {kind: tuple(group.values()) for kind, group in groups.items()}


def said_by(
    document: Document, kind: str | None = None, name: Name | None = None
) -> tuple[tuple[Key, Provenance], ...]:
    """The provenance of a value that a document says as a whole."""
    key = Key(kind or document.kind, name or document.name)
    return ((key, Provenance(document.locate("metadata", "name"), document.owner)),)
