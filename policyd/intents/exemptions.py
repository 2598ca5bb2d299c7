"""Finds `# policyd: allow PD2104 until 2027-01-31 because ...` in the comments of a file.

The parser drops comments, so they are looked for in the text, and what stands inside a value is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic_core import PydanticCustomError

from policyd.base.diagnostics import Finding
from policyd.intents.document import Exemption
from policyd.intents.place import Place, Source
from policyd.intents.reader import RawDocument
from policyd.intents.units import instant, unreadable

_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[ \t]*policyd:[ \t]*(.*)$")
_ALLOW = re.compile(r"allow[ \t]+(PD[0-9]{4})[ \t]+until[ \t]+(\S+)[ \t]+because[ \t]+(\S.*?)[ \t]*")
_HINT = "write `# policyd: allow PD2104 until 2027-01-31 because ...`"


def exemptions(source: Source, document: RawDocument) -> tuple[tuple[Exemption, ...], tuple[Finding, ...]]:
    """The exemptions in the lines of one document, and findings for the ones that cannot be read."""
    found: list[Exemption] = []
    findings: list[Finding] = []
    for place, text in _comments(source, document):
        try:
            found.append(_parse(source, place, text))
        except PydanticCustomError as problem:
            context = problem.context or {}
            findings.append(source.finding("PD1013", str(context["message"]), place, hint=_HINT))
    return tuple(found), tuple(findings)


def _parse(source: Source, place: Place, text: str) -> Exemption:
    match = _ALLOW.fullmatch(text)
    if match is None:
        raise unreadable("this exception does not name a finding, an end date and a reason")
    return Exemption(match[1], instant(match[2]), match[3], source.location(place))


def _comments(source: Source, document: RawDocument) -> Iterator[tuple[Place, str]]:
    for number in range(document.first_line, min(document.last_line + 1, len(source.lines))):
        line = source.lines[number]
        match = _COMMENT.search(line) if "policyd:" in line else None
        if match and not _inside_a_value(document.place, number, match.start()):
            yield Place(number, match.start(), number, len(line)), match[1]


def _inside_a_value(place: Place, line: int, column: int) -> bool:
    pending = [place]
    while pending:
        current = pending.pop()
        inner = [*current.keys.values(), *current.values.values(), *current.items]
        pending.extend(inner)
        starts = (current.line, current.column) <= (line, column)
        if not inner and starts and (line, column) < (current.end_line, current.end_column):
            return True
    return False
