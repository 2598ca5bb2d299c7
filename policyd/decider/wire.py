"""What parent and workers tell each other over a socket pair: a kind, a length, a body.

The parent is whoever started the worker and handed it the socket; nobody else can write to it, which is why pieces
may be pickled.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_HEAD = struct.Struct(">BI")


class Kind(enum.IntEnum):
    """What a frame is."""

    SETTINGS = 0
    """To a worker, first: `WorkerSettings`, pickled."""
    BEGIN = 1
    """An update begins; `Update.frame`."""
    PIECE = 2
    """A destination's name, a zero byte, the last part of its piece."""
    GONE = 3
    """The name of a destination that is no more."""
    SWAP = 4
    """The update is whole; its revision."""
    READY = 5
    """From a worker: it listens."""
    LOADED = 6
    """From a worker: it answers from this revision."""
    FAILED = 7
    """From a worker: why it cannot go on."""
    DIFFERING = 8
    """To a worker: see `differing`; JSON."""
    PART = 9
    """A part of the piece that comes next."""


@dataclass(frozen=True, slots=True)
class Update:
    """From one revision to the next: the parts of each piece (`pieces`), by `namespace/name` of its destination."""

    revision: str
    frame: bytes
    """The index without destinations, the revision and the floor, pickled."""
    changed: Mapping[str, tuple[bytes, ...]]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where decisions are written, and what of them is not; see `policyd.api.decide_settings.Log`."""

    to: tuple[str, ...]
    token: str
    mask: tuple[str, ...]
    drop: tuple[Mapping[str, Any], ...]
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker has to know: plain values, so that it loads nothing that reads settings."""

    number: int
    host: str
    port: int
    version: str
    json: bool
    """How the worker writes its own log."""
    opa: str
    """The URL of an OPA that answers for other paths; empty: none does."""
    controller: str
    """The URL of a controller that answers for other rules; empty: none does."""
    auth: bytes
    """Who may ask (`policyd.api.credentials.Auth`) as JSON; empty: everybody."""
    fetch: bytes
    """From where the keys of `auth` may come (`policyd.api.fetch_settings.Fetch`), as JSON."""
    log: LogSettings | None


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(kind, len(body)) + body


def frames_of(update: Update) -> Iterator[bytes]:
    """An update, frame by frame."""
    yield frame(Kind.BEGIN, update.frame)
    for name in update.gone:
        yield frame(Kind.GONE, name.encode())
    for name, (*parts, last) in update.changed.items():
        for part in parts:
            yield frame(Kind.PART, part)
        yield frame(Kind.PIECE, name.encode() + b"\0" + last)
    yield frame(Kind.SWAP, update.revision.encode())


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are whole now."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer, at)
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            yield Kind(kind), bytes(self._buffer[at + _HEAD.size : end])
            at = end
        del self._buffer[:at]
