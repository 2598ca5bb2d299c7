"""Files to documents: every YAML file is parsed once per content, every finding is kept.

FileTree -> read (places) -> kind -> model (types) -> Document
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from policyd.base.diagnostics import Finding, in_order
from policyd.intents.document import Document
from policyd.intents.exemptions import exemptions
from policyd.intents.kinds import API_VERSIONS, KINDS, AnyIntent
from policyd.intents.place import Source
from policyd.intents.reader import RawDocument, read
from policyd.intents.translate import nearest, translate
from policyd.intents.tree import FileTree
from policyd.intents.units import shown
from policyd.model.names import Name

RULES_FOLDER = "rego"
"""At the root of the repository: the team's own guardrails and their test data, never intents."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What one file says, whatever the rest of the tree says."""

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Every document of a tree in order of path and place, and everything wrong with their form.

    `parsed_files` counts the files that were really read; the others were remembered.
    """

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]
    parsed_files: int


class ParseCache:
    """Remembers parsed files by path and blob id.

    Two generations bound it: what neither of the last two loads used is forgotten.
    """

    def __init__(self) -> None:
        self._young: dict[tuple[str, str], ParsedFile] = {}
        self._old: dict[tuple[str, str], ParsedFile] = {}

    def get(self, path: str, blob_id: str) -> ParsedFile | None:
        """The file, if it is remembered."""
        key = (path, blob_id)
        parsed = self._young.get(key) or self._old.get(key)
        if parsed is not None:
            self._young[key] = parsed
        return parsed

    def put(self, path: str, blob_id: str, parsed: ParsedFile) -> None:
        """Remember a file."""
        self._young[path, blob_id] = parsed

    def age(self) -> None:
        """Begin a new generation; `load` does this once."""
        self._old, self._young = self._young, {}


def load(tree: FileTree, cache: ParseCache | None = None) -> Loaded:
    """Load every intent of a tree. Never raises for bad input: it becomes findings."""
    cache = cache if cache is not None else ParseCache()
    cache.age()
    documents: list[Document] = []
    findings: list[Finding] = []
    parsed_files = 0
    for path, blob_id in sorted(tree.files.items()):
        if not is_intent_file(path):
            continue
        parsed = cache.get(path, blob_id)
        if parsed is None:
            parsed = parse_file(path, tree.read(blob_id))
            cache.put(path, blob_id, parsed)
            parsed_files += 1
        documents.extend(parsed.documents)
        findings.extend(parsed.findings)
    findings.extend(_repeated(documents))
    return Loaded(tuple(documents), in_order(findings), parsed_files)


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
    for document in raw.documents:
        if document.value is None:
            continue  # nothing between two `---`, or only comments
        made, problems = _document(raw.source, document)
        findings.extend(problems)
        if made is not None:
            documents.append(made)
    return ParsedFile(tuple(documents), in_order(findings))


def _document(source: Source, raw: RawDocument) -> tuple[Document | None, Iterable[Finding]]:
    if not isinstance(raw.value, dict):
        return None, (
            source.finding(
                "PD1012", "a document is a mapping with `apiVersion`, `kind`, `metadata`, `spec`", raw.place
            ),
        )
    if not raw.sound:
        return None, ()
    model, problem = _model(source, raw)
    if model is None:
        return None, (problem,) if problem is not None else ()
    waivers, problems = exemptions(source, raw)
    try:
        intent = model.model_validate(raw.value)
    except ValidationError as errors:
        return None, (*problems, *translate(errors, model, source, raw))
    document = Document(
        path=source.path,
        kind=intent.kind,
        name=intent.name,
        owner=intent.owner,
        intent=intent,
        raw=raw.value,
        exemptions=waivers,
        place=raw.place,
        source=source,
    )
    return document, problems


def _model(source: Source, raw: RawDocument) -> tuple[type[AnyIntent] | None, Finding | None]:
    value: Mapping[str, Any] = raw.value
    for field in ("apiVersion", "kind"):
        if field not in value:
            hint = (
                f"for example `apiVersion: {API_VERSIONS[0]}`"
                if field == "apiVersion"
                else "for example `kind: Service`"
            )
            return None, source.finding("PD1104", f"the document needs `{field}`", raw.place, hint=hint)
    version, kind = value["apiVersion"], value["kind"]
    if version not in API_VERSIONS:
        place = raw.place.find(("apiVersion",))
        return None, source.finding(
            "PD1101", f"unknown apiVersion `{shown(version)}`", place, hint=nearest(version, API_VERSIONS)
        )
    if (version, kind) not in KINDS:
        known = [name for api_version, name in KINDS if api_version == version]
        message = f"`{version}` has no kind `{shown(kind)}`"
        return None, source.finding("PD1102", message, raw.place.find(("kind",)), hint=nearest(kind, known))
    return KINDS[version, kind], None


def _repeated(documents: Iterable[Document]) -> Iterable[Finding]:
    """Two documents of one kind and name: both places are named, neither is taken."""
    first: dict[tuple[str, Name], Document] = {}
    for document in documents:
        other = first.setdefault((document.kind, document.name), document)
        if other is not document:
            yield document.finding(
                "PD1112",
                f"`{document.kind}` `{document.name}` is already defined in {other.locate('metadata', 'name')}",
                "metadata",
                "name",
                hint="rename one of the two, or delete it",
            )
