"""A destination on its way into a worker: cut by the parent into steps of a few rules, put together one by one.

    Destination -> cut -> parts -> Assembly.step, step, ... -> the same Destination
                                                               -> falling_apart, when it is replaced

A destination with ten thousand rules that was loaded, or let go, at once would keep clients waiting for milliseconds.
What is cut are large containers, whatever they belong to, each step by a pickler of its own: one for all would keep
every value to its end, and let go of them at once. What is an entry of a tuple that came before, a rule, is named and
not written again.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from types import NoneType
from typing import Any

STEP = 4
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
_SHORT = (str, bytes, int, float, NoneType)
"""What is written again rather than named."""
_DICT = _CUT.index(dict)
_ROOT = 0
"""What comes before the piece itself; before each step of a container, its kind and how many entries it brings."""


def cut(piece: Any) -> tuple[bytes, ...]:
    """The parts of a piece, in the order in which an `Assembly` takes them."""
    whole = pickle.dumps(piece, _PROTOCOL)
    if len(whole) <= SMALL:
        return (pickle.dumps(_ROOT, _PROTOCOL) + whole,)
    out, parts, named = io.BytesIO(), list[bytes](), dict[int, Any]()
    for number, container in enumerate(_large(piece)):
        entries = iter(container.items() if isinstance(container, dict) else container)
        kind, left = _CUT.index(type(container)), len(container)
        while left:
            left -= len(step := list(islice(entries, STEP)))
            writer = _Writer(out, named)
            writer.dump((len(step) * len(_CUT) + kind) * 2 + (not left))
            for value in chain.from_iterable(step) if kind == _DICT else step:
                writer.dump(value)
            if out.tell() > FRAME:
                parts.append(out.getvalue())
                out.seek(0)
                out.truncate()
        named[id(container)] = number
        if isinstance(container, tuple):
            named |= {id(entry): (number, at) for at, entry in enumerate(container) if not isinstance(entry, _SHORT)}
    writer = _Writer(out, named)
    writer.dump(_ROOT)
    writer.dump(piece)
    return (*parts, out.getvalue())


def _large(piece: Any) -> list[Any]:
    """The large containers that are reached from a value, those first that others hold."""
    found: dict[int, Any] = {}

    def visit(value: Any, *, itself: bool) -> None:
        finder = _Finder(value if itself else None)
        finder.dump(value)
        for each in finder.found:
            if id(each) not in found:
                visit(each, itself=True)
                found[id(each)] = each

    visit(piece, itself=False)
    return list(found.values())


class _Finder(pickle.Pickler):
    """Finds the large containers in a value, without those in them."""

    def __init__(self, within: Any) -> None:
        super().__init__(io.BytesIO(), _PROTOCOL)
        self._within = within
        self.found: list[Any] = []

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) not in _CUT or len(obj) <= LARGE or obj is self._within:
            return None
        self.found.append(obj)
        return 0


class _Writer(pickle.Pickler):
    """Writes what came before by its name: the number of a container, or that of a tuple with the entry's place."""

    def __init__(self, out: io.BytesIO, named: Mapping[int, Any]) -> None:
        super().__init__(out, _PROTOCOL)
        self._named = named

    def persistent_id(self, obj: Any) -> Any:
        return self._named.get(id(obj))


class _Reader(pickle.Unpickler):
    def __init__(self, tape: _Tape, made: list[Any]) -> None:
        super().__init__(tape)
        self._made = made

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, int):
            return self._made[pid]
        number, at = pid
        return self._made[number][at]


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
        self._entries: Any = None
        self.piece: Any = None
        """What came out, after the last step of the last part."""

    def put(self, part: bytes) -> None:
        """Have the next part read; all steps of the one before have been taken."""
        self._tape.put(part)

    def step(self) -> bool:
        """Load a few entries; returns whether there are more in this part."""
        load = _Reader(self._tape, self.large).load
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
