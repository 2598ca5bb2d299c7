"""Finds `# policyd: allow PD2104 until 2027-01-31 because ...` in the comments of a file.

The parser drops comments, so they are looked for in the text, and what stands inside a value is left alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from pydantic_core import PydanticCustomError

from policyd.base.diagnostics import Finding
from policyd.intents.document import Exemption
from policyd.intents.events import RawDocument
from policyd.intents.place import Branch, Place, Source, Span
from policyd.intents.units import instant, unreadable

_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[ \t]*policyd:[ \t]*(.*)$")
_ALLOW = re.compile(r"allow[ \t]+(PD[0-9]{4})[ \t]+until[ \t]+(\S+)[ \t]+because[ \t]+(\S.*?)[ \t]*")
_HINT = "write `# policyd: allow PD2104 until 2027-01-31 because ...`"


def exemptions(source: Source, document: RawDocument) -> tuple[tuple[Exemption, ...], tuple[Finding, ...]]:
    """The exemptions in the lines of one document, and findings for the ones that cannot be read."""
    found: list[Exemption] = []
    findings: list[Finding] = []
    for span, text in _comments(source, document):
        try:
            found.append(_parse(source, span, text))
        except PydanticCustomError as problem:
            context = problem.context or {}
            findings.append(source.finding("PD1013", str(context["message"]), span, hint=_HINT))
    return tuple(found), tuple(findings)


def _parse(source: Source, span: Span, text: str) -> Exemption:
    match = _ALLOW.fullmatch(text)
    if match is None:
        raise unreadable("this exception does not name a finding, an end date and a reason")
    return Exemption(match[1], instant(match[2]), match[3], source.location(span))


def _comments(source: Source, document: RawDocument) -> Iterator[tuple[Span, str]]:
    values: list[Span] | None = None
    for number in range(document.first_line, min(document.last_line + 1, len(source.lines))):
        line = source.lines[number]
        match = _COMMENT.search(line) if "policyd:" in line else None
        if match is None:
            continue
        if values is None:
            values = sorted(_values(document.place))
        if not _inside(values, (number, match.start())):
            yield (number, match.start(), number, len(line)), match[1]


def _values(place: Place) -> Iterator[Span]:
    """Where the keys and scalars of a document stand; no two of them overlap."""
    pending = [place]
    while pending:
        current = pending.pop()
        if isinstance(current, Branch):
            pending.extend(current.keys.values())
            pending.extend(current.inside.values() if isinstance(current.inside, dict) else current.inside)
        else:
            yield current


def _inside(values: list[Span], at: tuple[int, int]) -> bool:
    """Whether one of the sorted spans covers a line and column: the last that begins there or before."""
    before = bisect_right(values, at, key=lambda span: span[:2])
    return before > 0 and at < values[before - 1][2:]
