"""The commit as one JSON document, the input of every rule. Its shape is described in `rego/README.md`.

What rules ask again and again is derived here once: which service a document is about, and whether that service is
`tier: critical`. Functions in Rego cost more than fields, and in one of the engines much more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from policyd.guardrails.encoding import encode
from policyd.intents import Document
from policyd.model.names import Name

_TARGET_FIELD = {"AccessRule": "to", "CanarySplit": "service", "SLO": "service"}


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
    by_kind: dict[str, list[Any]] = {}
    for position, (document, subject) in enumerate(zip(documents, about, strict=True)):
        by_kind.setdefault(document.kind, []).append(_described(position, document, subject))
    return {
        "now": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "mesh": _mesh(documents, any(subject.critical for subject in about)),
        "documents": encode(by_kind),
    }


def _described(position: int, document: Document, subject: Subject) -> dict[str, Any]:
    # Few fields, and the short ones first: each of the engines pays for every one of them.
    said = {
        "critical": subject.critical,
        "id": position,
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
    return said


def _service(document: Document) -> str:
    if document.kind == "Service":
        return str(document.name)
    text = document.raw.get("spec", {}).get(_TARGET_FIELD.get(document.kind, ""), "")
    return str(Name.parse(text, document.name.namespace)) if text else ""


def _is_critical(document: Document) -> bool:
    return document.kind == "Service" and _labels(document).get("tier") == "critical"


def _labels(document: Document) -> Mapping[str, Any]:
    labels: Mapping[str, Any] = document.raw.get("metadata", {}).get("labels", {})
    return labels


def _mesh(documents: Iterable[Document], critical: bool) -> dict[str, Any] | None:
    mesh = next((document for document in documents if document.kind == "Mesh"), None)
    if mesh is None:
        return None
    said: dict[str, Any] = encode(
        {
            "name": mesh.name.name,
            "trustDomain": mesh.raw["spec"]["trustDomain"],
            "strategy": mesh.raw["spec"].get("strategy", ""),
            "critical": critical,
        }
    )
    return said
