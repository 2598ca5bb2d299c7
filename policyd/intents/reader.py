"""The bytes of one file to plain values with places: what is not even readable text stops here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.intents.events import EventReader, RawDocument
from policyd.intents.place import Source
from policyd.intents.scalars import INVISIBLE

MAX_BYTES = 1_048_576

_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class RawFile:
    """All documents of one file, and what is wrong with it."""

    source: Source
    documents: tuple[RawDocument, ...]
    findings: tuple[Finding, ...]


def read(path: str, body: bytes) -> RawFile:
    """Read one file. Never raises for bad input."""
    if len(body) > MAX_BYTES:
        message = f"the file has {len(body):,} bytes; {MAX_BYTES:,} are the limit"
        return _refused(path, 0, "PD1003", message, "split the file: one service, one file")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = body.count(b"\n", 0, problem.start) + 1
        return _refused(path, line, "PD1001", "the file is not UTF-8", "save it as UTF-8")
    source = Source(path, tuple(_NEWLINE.split(text)))
    if INVISIBLE.search(text):
        return RawFile(source, (), tuple(_invisible(source)))
    reader = EventReader(source)
    reader.run(text)
    return RawFile(source, tuple(reader.documents), tuple(reader.findings))


def _refused(path: str, line: int, code: str, message: str, hint: str) -> RawFile:
    finding = Finding(code, Severity.ERROR, message, Location(path, line, 1 if line else 0), hint)
    return RawFile(Source(path, ()), (), (finding,))


def _invisible(source: Source) -> Iterator[Finding]:
    for number, line in enumerate(source.lines):
        match = INVISIBLE.search(line)
        if match:
            yield source.finding(
                "PD1002",
                f"the line has the invisible character `U+{ord(match[0]):04X}`",
                (number, match.start(), number, match.end()),
                hint="delete it: what people review must be what the program reads",
            )
