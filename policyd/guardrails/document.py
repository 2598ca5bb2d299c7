"""The commit as one JSON document, the input of every rule. Its shape is described in `rego/README.md`.

What rules ask again and again is derived here once: which service a document is about, and whether that service is
`tier: critical`. Functions in Rego cost more than fields, and in one of the engines much more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from policyd.guardrails.encoding import encode
from policyd.intents import Document
from policyd.intents.access_rule import AccessRule
from policyd.model.names import Name

_DAY = timedelta(days=1)
_TARGET_FIELD = {"AccessRule": "to", "CanarySplit": "service", "Route": "to", "SLO": "service"}


@dataclass(frozen=True, slots=True)
class Subject:
    """The service that a document is about, `namespace/name` (empty: none), and whether it is `tier: critical`.

    `kinds` are the kinds of the other documents about the same service, sorted; only a `Service` has them.
    """

    service: str
    critical: bool
    kinds: tuple[str, ...] = ()


def subjects(documents: Iterable[Document]) -> tuple[Subject, ...]:
    """What each document is about, in the same order."""
    known = tuple(documents)
    critical = {str(document.name) for document in known if _is_critical(document)}
    services = tuple(map(_service, known))
    kinds: dict[str, set[str]] = {}
    for document, service in zip(known, services, strict=True):
        if document.kind != "Service":
            kinds.setdefault(service, set()).add(document.kind)
    return tuple(
        Subject(
            service, service in critical, tuple(sorted(kinds.get(service, ()))) if document.kind == "Service" else ()
        )
        for document, service in zip(known, services, strict=True)
    )


def describe(documents: Sequence[Document], about: Sequence[Subject], at: datetime) -> dict[str, Any]:
    """The input document at the instant `at`; strings are encoded (see `encoding`).

    A document's `id` is its position in `documents`; `about` is what `subjects` said of them.
    """
    everyone = enumerate(zip(documents, about, strict=True))
    return {
        "now": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "mesh": encode(mesh_of(documents, about)),
        "documents": encode(by_kind(((position, *pair) for position, pair in everyone), at)),
    }


def by_kind(some: Iterable[tuple[int, Document, Subject]], at: datetime) -> dict[str, list[Any]]:
    """These documents by kind, as rules see them, each with its position as `id`; strings are not encoded yet."""
    found: dict[str, list[Any]] = {}
    for position, document, subject in some:
        found.setdefault(document.kind, []).append(
            {"id": position, **described(document, subject, days_left(document, at))}
        )
    return found


def described(document: Document, subject: Subject, days: int | None) -> dict[str, Any]:
    """All that a rule can read of one document, but for its `id`; `days` is what `days_left` said."""
    # Few fields, and the short ones first: each of the engines pays for every one of them.
    said = {
        "critical": subject.critical,
        "name": document.name.name,
        "namespace": document.name.namespace,
        "owner": document.owner,
        "path": document.path,
        "spec": document.raw.get("spec", {}),
        "target": subject.service,
    }
    if labels := _labels(document):
        said["labels"] = labels
    if document.kind == "Service":
        said["subjectOf"] = subject.kinds
    if days is not None:
        said["daysLeft"] = days
    return said


def days_left(document: Document, at: datetime) -> int | None:
    """The days until the document expires, begun ones as whole ones (0 or less: it has); `None` where it never does.

    Rules read the time from this alone, so that what they say of a document holds for as long as the number does.
    """
    if not isinstance(document.intent, AccessRule) or document.intent.spec.expires is None:
        return None
    return -((at - document.intent.spec.expires) // _DAY)


def mesh_of(documents: Iterable[Document], about: Iterable[Subject]) -> dict[str, Any] | None:
    """What rules can read of the mesh; `None` where there is none. Strings are not encoded yet."""
    mesh = next((document for document in documents if document.kind == "Mesh"), None)
    if mesh is None:
        return None
    return {
        "name": mesh.name.name,
        "trustDomain": mesh.raw["spec"]["trustDomain"],
        "strategy": mesh.raw["spec"].get("strategy", ""),
        "critical": any(subject.critical for subject in about),
    }


def _service(document: Document) -> str:
    if document.kind == "Service":
        return str(document.name)
    field = _TARGET_FIELD.get(document.kind)
    text = document.raw["spec"].get(field, "") if field is not None else ""
    return str(Name.parse(text, document.name.namespace)) if text else ""


def _is_critical(document: Document) -> bool:
    return document.kind == "Service" and _labels(document).get("tier") == "critical"


def _labels(document: Document) -> Mapping[str, Any]:
    labels: Mapping[str, Any] = document.raw.get("metadata", {}).get("labels", {})
    return labels
