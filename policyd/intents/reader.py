"""The bytes of one file to plain values with places: what is not even readable text stops here."""

from __future__ import annotations

import codecs
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
        return _refused(Location(path), "PD1003", message, "split the file: one service, one file")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        return _not_utf8(path, body, problem.start)
    source = Source(path, tuple(_NEWLINE.split(text)))
    if INVISIBLE.search(text):
        return RawFile(source, (), tuple(_invisible(source)))
    reader = EventReader(source)
    reader.run(text)
    return RawFile(source, tuple(reader.documents), tuple(reader.findings))


def _not_utf8(path: str, body: bytes, start: int) -> RawFile:
    """`start` is the first byte that no UTF-8 text has there."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _refused(Location(path, 1, 1), "PD1001", "the file is UTF-16, not UTF-8", "save it as UTF-8")
    before = _NEWLINE.split(body[:start].decode("utf-8-sig"))
    where = Location(path, len(before), len(before[-1]) + 1)
    return _refused(where, "PD1001", f"the file is not UTF-8: byte `0x{body[start]:02x}`", "save it as UTF-8")


def _refused(where: Location, code: str, message: str, hint: str) -> RawFile:
    return RawFile(Source(where.path, ()), (), (Finding(code, Severity.ERROR, message, where, hint),))


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
