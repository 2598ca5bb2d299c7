"""A destination on its way into a worker: cut by the parent into steps of a few rules, put together one by one.

    Destination -> cut -> parts -> Assembly.step, step, ... -> the same Destination
                                                               -> falling_apart, when it is replaced

A destination with ten thousand rules that was loaded, or let go, at once would keep clients waiting for milliseconds.
What is cut are large containers, whatever they belong to; one pickler writes all steps and one unpickler reads them,
so that what was shared still is.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

STEP = 8
"""Entries of a large container that are loaded at once, or let go."""
LARGE = 32
"""A container with more entries is cut."""
FRAME = 16 * 1024
"""Bytes of a part, about."""
SMALL = 8 * 1024
"""A destination that takes no more bytes is loaded at once."""
PINNED = 512
"""Entries that are held at once before their container is let go; nothing is freed by that."""
_PROTOCOL = 5
_CUT = (tuple, dict, frozenset)
_DICT = _CUT.index(dict)
_ROOT = 0
"""What comes before the piece itself; before each step of a container, its kind and how many entries it brings."""


def cut(piece: Any) -> tuple[bytes, ...]:
    """The parts of a piece, in the order in which an `Assembly` takes them."""
    whole = pickle.dumps(piece, _PROTOCOL)
    if len(whole) <= SMALL:
        return (pickle.dumps(_ROOT, _PROTOCOL) + whole,)
    large = _Finder.large(piece)
    out = io.BytesIO()
    writer = _Writer(out)
    parts: list[bytes] = []
    for number, container in enumerate(reversed(large)):  # what is inside of another one comes before it
        entries = iter(container.items() if isinstance(container, dict) else container)
        kind, left = _CUT.index(type(container)), len(container)
        while left:
            left -= len(step := list(islice(entries, STEP)))
            # Nothing but what belongs to the piece is written as a value of its own: the reader keeps all of those
            # until the end, and would have to let go of them at once.
            writer.dump((len(step) * len(_CUT) + kind) * 2 + (not left))
            for value in chain.from_iterable(step) if kind == _DICT else step:
                writer.dump(value)
            if out.tell() > FRAME:
                parts.append(out.getvalue())
                out.seek(0)
                out.truncate()
        writer.numbers[id(container)] = number
    writer.dump(_ROOT)
    writer.dump(piece)
    return (*parts, out.getvalue())


class _Finder(pickle.Pickler):
    """Finds large containers, those that hold others first."""

    @classmethod
    def large(cls, piece: Any) -> list[Any]:
        finder = cls(io.BytesIO(), _PROTOCOL)
        finder.found = []
        finder.dump(piece)
        return finder.found

    found: list[Any]

    def persistent_id(self, obj: Any) -> None:
        if type(obj) in _CUT and len(obj) > LARGE and not any(obj is other for other in self.found):
            self.found.append(obj)


class _Writer(pickle.Pickler):
    """Writes the number of a container in its place once that has been written."""

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__(out, _PROTOCOL)
        self.numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        return self.numbers.get(id(obj)) if type(obj) in _CUT else None


class _Reader(pickle.Unpickler):
    def __init__(self, tape: _Tape, made: list[Any]) -> None:
        super().__init__(tape)
        self._made = made

    def persistent_load(self, pid: Any) -> Any:
        return self._made[pid]


class _Tape:
    """Parts, one behind the other, as a file."""

    def __init__(self) -> None:
        self._part, self._at = b"", 0

    @property
    def over(self) -> bool:
        return self._at >= len(self._part)

    def put(self, part: bytes) -> None:
        self._part, self._at = part, 0

    def read(self, size: int) -> bytes:
        found = self._part[self._at : self._at + size]
        self._at += len(found)
        return found

    def readline(self) -> bytes:
        end = self._part.find(b"\n", self._at) + 1
        return self.read((end or len(self._part)) - self._at)


class Assembly:
    """Puts one piece together. Take it only from who may run code here: these are pickles (see `wire`)."""

    def __init__(self) -> None:
        self._tape = _Tape()
        self.large: list[Any] = []
        """The containers that were cut."""
        self._reader = _Reader(self._tape, self.large)
        self._entries: Any = None
        self.piece: Any = None
        """What came out, after the last step of the last part."""

    def put(self, part: bytes) -> None:
        """Have the next part read; all steps of the one before have been taken."""
        self._tape.put(part)

    def step(self) -> bool:
        """Load a few entries; returns whether there are more in this part."""
        load = self._reader.load
        said = load()
        if said == _ROOT:
            self.piece = load()
            return False
        said, last = divmod(said, 2)
        number, kind = divmod(said, len(_CUT))
        if self._entries is None:
            self._entries = {} if kind == _DICT else []
        for _ in range(number):
            if kind == _DICT:
                key = load()
                self._entries[key] = load()
            else:
                self._entries.append(load())
        if last:
            self.large.append(self._entries if kind == _DICT else _CUT[kind](self._entries))
            self._entries = None
        return not self._tape.over


def falling_apart(piece: list[Any], large: list[Any]) -> Iterator[None]:
    """Let go of a piece, the only value in a list that nobody else has, a few entries at each step."""
    pinned: list[Any] = []
    yield from _pin(large, pinned)
    piece.clear()
    while large:
        large.pop()
        yield
    while pinned:
        del pinned[-STEP:]
        yield


def _pin(large: list[Any], pinned: list[Any]) -> Iterator[None]:
    """Hold what is in large containers, so that nothing of it ends with them."""
    for container in large:
        entries = chain(container, container.values()) if isinstance(container, dict) else iter(container)
        while held := list(islice(entries, PINNED)):
            pinned += held
            yield
