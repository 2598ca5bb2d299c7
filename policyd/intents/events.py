"""The parser's events become plain values with places, in one loop that refuses what is hostile or ambiguous.

Depth, aliases, anchors, merge keys, tags, duplicate keys and numbers that JSON cannot carry are caught here, before
any object of an intent is built. Nothing recurses, so that no input can exhaust the stack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import yaml

from policyd.base.diagnostics import MOST_OF_A_FILE, Finding
from policyd.intents.place import Branch, Place, Source, Span, span_of
from policyd.intents.scalars import INVISIBLE, NumberRefused, is_null, resolve
from policyd.intents.units import shown

MAX_DEPTH = 64

_WRITE_OUT = "write the value out: every reader then sees what applies"


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


class _TooMuch(Exception):
    """The rest of the file is not worth reading, or not safe to."""


class _Open:
    """A mapping or list that has begun.

    `key` waits for its value; `is_key` marks a collection that stands where a key must.
    """

    __slots__ = ("branch", "is_key", "key", "value")

    def __init__(self, value: dict[str, Any] | list[Any], branch: Branch, *, is_key: bool) -> None:
        self.value = value
        self.branch = branch
        self.is_key = is_key
        self.key: str | None = None

    def add(self, value: Any, place: Place) -> None:
        if isinstance(self.value, dict):
            self.value[self.key or ""] = value
        else:
            self.value.append(value)
        self.branch.add(self.key, place)
        self.key = None


class EventReader:
    """Reads one text. `documents` and `findings` hold what was found, also when the text breaks off."""

    def __init__(self, source: Source) -> None:
        self.documents: list[RawDocument] = []
        self.findings: list[Finding] = []
        self._source = source
        self._open: list[_Open] = []
        self._root: tuple[Any, Place] | None = None
        self._sound = True
        self._first_line = 0

    def run(self, text: str) -> None:
        """Read the text to its end, or to where it is not YAML any more."""
        takes: dict[type[yaml.Event], Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._begin,
            yaml.SequenceStartEvent: self._begin,
            yaml.MappingEndEvent: self._finish,
            yaml.SequenceEndEvent: self._finish,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._start_document,
            yaml.DocumentEndEvent: self._end_document,
        }
        try:
            # By the parser itself: `yaml.parse` asks twice for each event, which adds up in a thousand files.
            parser = yaml.CLoader(text)
            while (event := parser.get_event()) is not None:
                take = takes.get(type(event))
                if take is not None:
                    take(event)
        except _TooMuch:
            pass
        except yaml.YAMLError as problem:
            self.findings.append(_syntax_error(self._source, problem))
        self._bound_last(len(self._source.lines))

    def _end_document(self, _: yaml.DocumentEndEvent) -> None:
        if self._root is not None:
            value, place = self._root
            self.documents.append(RawDocument(value, place, self._sound, self._first_line, span_of(place)[2]))

    def _start_document(self, event: yaml.DocumentStartEvent) -> None:
        self._root, self._sound = None, True
        span = _span(event)
        self._bound_last(span[0] - 1)
        self._first_line = span[0] if self.documents else 0
        if event.tags:
            self._refuse("PD1008", "tag directives are not read", span, "delete the `%TAG` line")

    def _bound_last(self, line: int) -> None:
        """Give the last document the lines up to the next one: comments may stand there."""
        if self.documents:
            self.documents[-1] = replace(self.documents[-1], last_line=line)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        span = _span(event)
        if event.anchor is not None or event.tag is not None:
            self._refuse_marks(event, span)
        text: str = event.value
        if self._wants_key():
            self._key(text, span, is_plain=event.implicit[0])
            return
        value: Any = text
        if event.implicit[0] and self._open and is_null(text):
            self._refuse("PD1015", self._empty(), span, "give it a value, or delete it")
        elif event.implicit[0]:
            try:
                value = resolve(text)
            except NumberRefused as problem:
                self._refuse("PD1011", f"`{shown(text)}`: {problem}", span, "write it in quotes if it is text")
        elif event.style == '"' and INVISIBLE.search(text):
            self._refuse("PD1002", "an escape stands for an invisible character", span, "write the text plainly")
        self._add(value, span)

    def _empty(self) -> str:
        key = self._open[-1].key
        return f"`{shown(key)}` has no value" if key else "a list item has no value"

    def _key(self, text: str, span: Span, *, is_plain: bool) -> None:
        mapping = self._open[-1]
        mapping.key = text
        keys = mapping.branch.keys
        if text == "<<" and is_plain:
            self._refuse("PD1007", "merge keys are not read", span, _WRITE_OUT)
        elif text == "" and is_plain:
            self._refuse("PD1010", "a key is missing before `:`", span, "name the field")
        elif INVISIBLE.search(text) or "\n" in text or "\t" in text:
            self._refuse("PD1002", "the key holds an invisible character", span, "write the key plainly")
        elif text in keys:
            first = keys[text][0] + 1
            self._refuse(
                "PD1009", f"`{shown(text)}` is given twice; first in line {first}", span, "keep one of the two"
            )
        else:
            keys[text] = span

    def _alias(self, event: yaml.AliasEvent) -> None:
        span = _span(event)
        self._refuse("PD1006", f"the alias `*{event.anchor}` stands for something else", span, _WRITE_OUT)
        if self._wants_key():
            self._open[-1].key = ""
        else:
            self._add(None, span)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        span = _span(event)
        if len(self._open) >= MAX_DEPTH:
            self._refuse("PD1004", f"nested more than {MAX_DEPTH} deep", span, "no intent needs this")
            raise _TooMuch
        if event.anchor is not None or event.tag is not None:
            self._refuse_marks(event, span)
        is_key = self._wants_key()
        if is_key:
            self._refuse("PD1010", "a list or mapping cannot be a key", span, "use plain text as key")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        value: dict[str, Any] | list[Any] = {} if is_mapping else []
        branch = Branch(span, is_mapping=is_mapping)
        if not is_key:
            self._add(value, branch)
        self._open.append(_Open(value, branch, is_key=is_key))

    def _finish(self, event: yaml.CollectionEndEvent) -> None:
        end = _span(event)
        done = self._open.pop()
        last = done.branch.last()
        if end[:2] == end[2:] and last is not None:
            # A block collection ends where the next token begins; for people it ends with its last value.
            end = span_of(last)
        done.branch.span = (*done.branch.span[:2], *end[2:])
        if done.is_key:
            self._open[-1].key = ""

    def _wants_key(self) -> bool:
        return bool(self._open) and self._open[-1].key is None and isinstance(self._open[-1].value, dict)

    def _add(self, value: Any, place: Place) -> None:
        if self._open:
            self._open[-1].add(value, place)
        else:
            self._root = (value, place)

    def _refuse_marks(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, span: Span) -> None:
        if event.anchor is not None:
            self._refuse("PD1006", f"the anchor `&{event.anchor}` names a value for other places", span, _WRITE_OUT)
        if event.tag is not None:
            self._refuse("PD1008", f"the tag `{shown(event.tag)}` is not read", span, "delete it")

    def _refuse(self, code: str, message: str, span: Span, hint: str) -> None:
        self._sound = False
        self.findings.append(self._source.finding(code, message, span, hint=hint))
        if len(self.findings) >= MOST_OF_A_FILE:
            stop = f"{MOST_OF_A_FILE} findings in this file; the rest of it was not read"
            self.findings.append(self._source.finding("PD1014", stop, span, hint="start with the first finding"))
            raise _TooMuch


def _span(event: yaml.Event) -> Span:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    return (start.line, start.column, end.line, end.column)


def _syntax_error(source: Source, problem: yaml.YAMLError) -> Finding:
    line, column, what = 0, 0, str(problem)
    if isinstance(problem, yaml.MarkedYAMLError):
        mark = problem.problem_mark or problem.context_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        what = " ".join(part for part in (problem.context, problem.problem) if part)
    text = source.lines[line] if line < len(source.lines) else ""
    hint = ""
    if text[column : column + 1] in {"{", "}"} and "[" in text[:column]:
        hint = 'inside `[...]`, text with braces needs quotes: `"/v1/orders/{id}"`'
    elif text[column : column + 1] == "\t" or text[:column].endswith("\t"):
        hint = "indent with spaces"
    return source.finding("PD1005", f"not valid YAML: {what}", (line, column, line, column + 1), hint=hint)
