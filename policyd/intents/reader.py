"""YAML bytes to plain values with places, judged on the event stream before any object is built.

What is hostile or ambiguous in YAML is a finding here: depth, size, aliases, anchors, merge keys, tags, duplicate
keys, invisible characters, numbers that JSON cannot carry. The events come from libyaml and are consumed in a loop,
never by recursion, so that no input can exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.intents.place import Place, Source
from policyd.intents.scalars import NumberRefused, resolve
from policyd.intents.units import shown

MAX_BYTES = 1_048_576
MAX_DEPTH = 64
MAX_FINDINGS = 100
"""Per file; what is wrong so often is not read on."""

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff]"
)
_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class RawDocument:
    """One YAML document: a plain value (text, numbers, lists, mappings with text keys) and its places.

    `sound` is false where something in it could not be read; its value must not be judged further. `first_line`
    and `last_line` bound the lines that belong to it, comments included, counted from 0.
    """

    value: Any
    place: Place
    sound: bool
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class RawFile:
    """All documents of one file, and what is wrong with it."""

    source: Source
    documents: tuple[RawDocument, ...]
    findings: tuple[Finding, ...]


def read(path: str, body: bytes) -> RawFile:
    """Read one file. Never raises for bad input."""
    empty = Source(path, ())
    if len(body) > MAX_BYTES:
        size = f"`{path}` has {len(body):,} bytes; {MAX_BYTES:,} are the limit"
        return _refused(empty, "PD1003", size, Location(path), "split the file: one service, one file")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = body.count(b"\n", 0, problem.start) + 1
        return _refused(empty, "PD1001", "the file is not UTF-8", Location(path, line, 1), "save it as UTF-8")
    source = Source(path, tuple(_NEWLINE.split(text)))
    if _INVISIBLE.search(text):
        return RawFile(source, (), tuple(_invisible(source)))
    reading = _Reading(source)
    reading.run(text)
    return RawFile(source, tuple(reading.documents), tuple(reading.findings))


def _refused(source: Source, code: str, message: str, location: Location, hint: str) -> RawFile:
    return RawFile(source, (), (Finding(code, Severity.ERROR, message, location, hint),))


def _invisible(source: Source) -> Iterator[Finding]:
    for number, line in enumerate(source.lines):
        match = _INVISIBLE.search(line)
        if match:
            character = f"U+{ord(match[0]):04X}"
            yield source.finding(
                "PD1002",
                f"the line has the invisible character `{character}`",
                Place(number, match.start(), number, match.end()),
                hint="delete it: what people review must be what the program reads",
            )


class _TooMuch(Exception):
    """The rest of the file is not worth reading, or not safe to."""


class _Open:
    """A mapping or list that has begun."""

    __slots__ = ("is_mapping", "key", "place", "value")

    def __init__(self, value: Any, place: Place, *, is_mapping: bool) -> None:
        self.value = value
        self.place = place
        self.is_mapping = is_mapping
        self.key: str | None = None


class _Reading:
    """The state of reading one file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.documents: list[RawDocument] = []
        self.findings: list[Finding] = []
        self._open: list[_Open] = []
        self._root: tuple[Any, Place] | None = None
        self._sound = True
        self._first_line = 0

    def run(self, text: str) -> None:
        try:
            for event in yaml.parse(text, Loader=yaml.CLoader):
                self._take(event)
        except _TooMuch:
            pass
        except yaml.MarkedYAMLError as problem:
            self.findings.append(_syntax_error(self.source, problem))
        if self.documents:
            self._stretch_last()

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, is_mapping=isinstance(event, yaml.MappingStartEvent))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._finish(event)
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(
                "PD1006", f"the alias `*{event.anchor}` stands for something written elsewhere", _span(event), _PLAIN
            )
            self._add(None, _span(event), key_text=None)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._start_document(event)
        elif isinstance(event, yaml.DocumentEndEvent):
            self._end_document()

    def _start_document(self, event: yaml.DocumentStartEvent) -> None:
        self._root, self._sound = None, True
        line = _span(event).line
        if self.documents:
            self._stretch_last(line - 1)
        self._first_line = line if self.documents else 0
        if event.tags:
            self._refuse("PD1008", "tag directives are not read", _span(event), "delete the `%TAG` line")

    def _end_document(self) -> None:
        if self._root is not None:
            value, place = self._root
            self.documents.append(RawDocument(value, place, self._sound, self._first_line, place.end_line))

    def _stretch_last(self, line: int | None = None) -> None:
        """Give the last document the lines up to the next one: comments may stand there."""
        last = self.documents[-1]
        end = line if line is not None else len(self.source.lines)
        self.documents[-1] = RawDocument(last.value, last.place, last.sound, last.first_line, end)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = _span(event)
        self._plain_node(event, place)
        text: str = event.value
        if self._wants_key():
            self._key(event, text, place)
            return
        value: Any = text
        if event.implicit[0]:
            try:
                value = resolve(text)
            except NumberRefused as problem:
                self._refuse("PD1011", f"`{shown(text)}`: {problem}", place, "write it in quotes if it is text")
                value = None
        elif event.style == '"' and _INVISIBLE.search(text):
            self._refuse(
                "PD1002",
                "the text holds an invisible character, written as an escape",
                place,
                "write the text plainly",
            )
        self._add(value, place, key_text=None)

    def _key(self, event: yaml.ScalarEvent, text: str, place: Place) -> None:
        mapping = self._open[-1]
        if text == "<<" and event.implicit[0]:
            self._refuse("PD1007", "merge keys are not read", place, _PLAIN)
        elif text == "" and event.implicit[0]:
            self._refuse("PD1010", "a key is missing before `:`", place, "name the field")
        elif _INVISIBLE.search(text):
            self._refuse("PD1002", "the key holds an invisible character", place, "write the key plainly")
        elif text in mapping.place.keys:
            first = mapping.place.keys[text].line + 1
            self._refuse(
                "PD1009", f"`{shown(text)}` is given twice; first in line {first}", place, "keep one of the two"
            )
        else:
            mapping.place.keys[text] = place
        mapping.key = text

    def _begin(self, event: yaml.CollectionStartEvent, *, is_mapping: bool) -> None:
        if len(self._open) >= MAX_DEPTH:
            self._refuse("PD1004", f"nested more than {MAX_DEPTH} deep", _span(event), "no intent needs this")
            raise _TooMuch
        place = _span(event)
        self._plain_node(event, place)
        if self._wants_key():
            self._refuse("PD1010", "a list or mapping cannot be a key", place, "use plain text as key")
            # It is read on as if it were a value, so that what it holds stays balanced.
            self._open[-1].key = ""
        value: Any = {} if is_mapping else []
        opened = _Open(value, place, is_mapping=is_mapping)
        self._add(value, place, key_text=None)
        self._open.append(opened)

    def _finish(self, event: yaml.Event) -> None:
        done = self._open.pop().place
        end = _span(event)
        inner = done.items or list(done.values.values())
        if (end.line, end.column) == (end.end_line, end.end_column) and inner:
            # A block collection ends where the next token begins; for people it ends with its last value.
            end = inner[-1]
        done.end_line, done.end_column = end.end_line, end.end_column

    def _wants_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_mapping and self._open[-1].key is None

    def _add(self, value: Any, place: Place, *, key_text: str | None) -> None:
        if not self._open:
            self._root = (value, place)
            return
        around = self._open[-1]
        if not around.is_mapping:
            around.value.append(value)
            around.place.items.append(place)
            return
        if around.key is None:
            around.key = key_text if key_text is not None else ""
            return
        around.value[around.key] = value
        around.place.values[around.key] = place
        around.key = None

    def _plain_node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place) -> None:
        if event.anchor is not None:
            self._refuse("PD1006", f"the anchor `&{event.anchor}` names a value for use elsewhere", place, _PLAIN)
        if event.tag is not None:
            self._refuse("PD1008", f"the tag `{shown(event.tag)}` is not read", place, "delete it")

    def _refuse(self, code: str, message: str, place: Place, hint: str) -> None:
        self._sound = False
        self.findings.append(self.source.finding(code, message, place, hint=hint))
        if len(self.findings) >= MAX_FINDINGS:
            stop = f"more than {MAX_FINDINGS} findings in this file; the rest of it was not read"
            self.findings.append(self.source.finding("PD1014", stop, place))
            raise _TooMuch


_PLAIN = "write the value out: every reader then sees what applies"


def _span(event: yaml.Event) -> Place:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    return Place(start.line, start.column, end.line, end.column)


def _syntax_error(source: Source, problem: yaml.MarkedYAMLError) -> Finding:
    mark = problem.problem_mark or problem.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    what = " ".join(part for part in (problem.context, problem.problem) if part)
    text = source.lines[line] if line < len(source.lines) else ""
    hint = ""
    if text[column : column + 1] in {"{", "}"} and "[" in text[:column]:
        hint = 'inside `[...]`, text with braces needs quotes: `"/v1/orders/{id}"`'
    elif text[column : column + 1] == "\t" or text[:column].endswith("\t"):
        hint = "indent with spaces"
    return source.finding("PD1005", f"not valid YAML: {what}", Place(line, column, line, column + 1), hint=hint)
