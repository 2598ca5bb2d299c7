"""Files to documents: every YAML file is parsed once per content, every finding is kept.

FileTree -> read (places) -> kind -> model (types) -> Document
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from policyd.base.diagnostics import MOST_OF_A_TREE, WHOLE_TREE, Finding, Location, Severity, in_order
from policyd.intents.document import Document
from policyd.intents.events import RawDocument
from policyd.intents.exemptions import exemptions
from policyd.intents.kinds import API_VERSIONS, KINDS, AnyIntent
from policyd.intents.place import Source, find
from policyd.intents.reader import read
from policyd.intents.translate import nearest, translate
from policyd.intents.tree import FileTree
from policyd.intents.units import shown
from policyd.model.names import DEFAULT_NAMESPACE, Name

RULES_FOLDER = "rego"
"""At the root of the repository: the team's own guardrails and their test data, never intents."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What one file says, whatever the rest of the tree says."""

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]
    broken: frozenset[Name] = frozenset()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Every document of a tree in order of path and place, and everything wrong with their form.

    `parsed_files` counts the files that were really read; the others were remembered. `broken` are the names of
    documents that are there and could not be used: whoever refers to them makes no mistake of his own. A tree that is
    not `whole` has so many errors that the rest of it was not read: nothing can be said about what its documents mean
    together.
    """

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]
    parsed_files: int
    broken: frozenset[Name] = frozenset()
    whole: bool = True


class ParseCache:
    """Remembers parsed files by path and blob id.

    What neither this load nor the two before it used is forgotten, so that two trees may take turns.
    """

    def __init__(self) -> None:
        self._now: dict[tuple[str, str], ParsedFile] = {}
        self._before: tuple[dict[tuple[str, str], ParsedFile], ...] = ({}, {})

    def get(self, path: str, blob_id: str) -> ParsedFile | None:
        """The file, if it is remembered."""
        key = (path, blob_id)
        for generation in self._before:
            if key in generation:
                self._now[key] = generation[key]
                break
        return self._now.get(key)

    def put(self, path: str, blob_id: str, parsed: ParsedFile) -> None:
        """Remember a file."""
        self._now[path, blob_id] = parsed

    def age(self) -> None:
        """Begin a new generation; `load` does this once."""
        self._before = (self._now, self._before[0])
        self._now = {}


def load(tree: FileTree, cache: ParseCache | None = None) -> Loaded:
    """Load every intent of a tree. Never raises for bad input: it becomes findings."""
    cache = cache if cache is not None else ParseCache()
    cache.age()
    documents: list[Document] = []
    findings: list[Finding] = []
    broken: set[Name] = set()
    parsed_files = errors = 0
    paths = sorted(filter(is_intent_file, tree.files))
    for number, path in enumerate(paths):
        if errors > MOST_OF_A_TREE:
            findings.append(_not_read_on(path, len(paths) - number))
            break
        blob_id = tree.files[path]
        parsed = cache.get(path, blob_id)
        if parsed is None:
            parsed = parse_file(path, tree.read(blob_id))
            cache.put(path, blob_id, parsed)
            parsed_files += 1
        documents.extend(parsed.documents)
        findings.extend(parsed.findings)
        errors += sum(finding.is_error for finding in parsed.findings)
        broken |= parsed.broken
    findings.extend(_repeated(documents))
    return Loaded(tuple(documents), in_order(findings), parsed_files, frozenset(broken), errors <= MOST_OF_A_TREE)


def _not_read_on(path: str, number: int) -> Finding:
    message = f"`{path}` and what comes after it, {number:,} files, were not read: there are too many errors before"
    return Finding("PD1014", Severity.ERROR, message, Location(WHOLE_TREE), "start with the first finding")


def is_intent_file(path: str) -> bool:
    """Whether the loader reads a path: `*.yaml` and `*.yml`, outside dot-folders and the root's `rego/`."""
    if not path.endswith((".yaml", ".yml")) or path.startswith(RULES_FOLDER + "/"):
        return False
    return not path.startswith(".") and "/." not in path


def parse_file(path: str, body: bytes) -> ParsedFile:
    """Parse one file, without any memory."""
    raw = read(path, body)
    documents: list[Document] = []
    findings = list(raw.findings)
    broken: set[Name] = set()
    for document in raw.documents:
        if document.value is None:
            continue  # nothing between two `---`, or only comments
        made, problems = _document(raw.source, document)
        findings.extend(problems)
        if made is not None:
            documents.append(made)
        elif (name := _said_name(document)) is not None:
            broken.add(name)
    return ParsedFile(tuple(documents), in_order(findings), frozenset(broken))


def _said_name(raw: RawDocument) -> Name | None:
    """What a document that cannot be used calls itself."""
    metadata = raw.value.get("metadata") if isinstance(raw.value, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return None
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE)
    return Name(namespace, metadata["name"]) if isinstance(namespace, str) else None


def _document(source: Source, raw: RawDocument) -> tuple[Document | None, Iterable[Finding]]:
    if not isinstance(raw.value, dict):
        message = "a document is a mapping with `apiVersion`, `kind`, `metadata` and `spec`"
        hint = "files that are no intents belong outside the watched folders, or into a dot-folder"
        return None, (source.finding("PD1012", message, find(raw.place, ()), hint=hint),)
    if not raw.sound:
        return None, ()
    model, unknown = _model(source, raw)
    if model is None:
        return None, unknown
    waivers, problems = exemptions(source, raw)
    try:
        intent = model.model_validate(raw.value)
    except ValidationError as errors:
        return None, (*problems, *translate(errors, model, source, raw))
    document = Document(
        path=source.path,
        kind=intent.kind,
        name=intent.name,
        id=f"{intent.kind} {intent.name}",
        owner=intent.owner,
        intent=intent,
        raw=raw.value,
        exemptions=waivers,
        place=raw.place,
        source=source,
    )
    return document, problems


_HINTS = {"apiVersion": f"for example `apiVersion: {API_VERSIONS[0]}`", "kind": "for example `kind: Service`"}


def _model(source: Source, raw: RawDocument) -> tuple[type[AnyIntent] | None, tuple[Finding, ...]]:
    value: Mapping[str, Any] = raw.value
    missing = [field for field in _HINTS if field not in value]
    if missing:
        start = find(raw.place, ())
        here = (start[0], start[1], start[0], start[1] + 1)
        return None, tuple(
            source.finding("PD1104", f"the document needs `{field}`", here, hint=_HINTS[field]) for field in missing
        )
    version, kind = value["apiVersion"], value["kind"]
    if version not in API_VERSIONS:
        message = f"unknown apiVersion `{shown(version)}`"
        where = find(raw.place, ("apiVersion",))
        return None, (source.finding("PD1101", message, where, hint=nearest(version, API_VERSIONS)),)
    known = {name: model for (api_version, name), model in KINDS.items() if api_version == version}
    if not isinstance(kind, str) or kind not in known:
        message = f"`{version}` has no kind `{shown(kind)}`"
        return None, (source.finding("PD1102", message, find(raw.place, ("kind",)), hint=nearest(kind, list(known))),)
    return known[kind], ()


def _repeated(documents: Iterable[Document]) -> Iterable[Finding]:
    """Two documents of one kind and name: both places are named, neither is taken."""
    first: dict[str, Document] = {}
    for document in documents:
        other = first.setdefault(document.id, document)
        if other is not document:
            yield document.finding(
                "PD1112",
                f"`{document.kind}` `{document.name}` is already defined in {other.locate('metadata', 'name')}",
                "metadata",
                "name",
                hint="rename one of the two, or delete it",
            )
