"""Loads an update into a worker in slices, between requests, and puts it in force by one assignment.

Measured: a whole index loaded at once keeps clients waiting for as long as that takes, 39 ms of p99 where it was
compiled in a thread, 3 ms where another process did that; in slices nobody notices. A slice is made of steps, and no
step takes more than a few rules, however many a destination has (`pieces`).
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from policyd.decider.loaded import Loaded
from policyd.decider.pieces import Assembly, falling_apart
from policyd.decider.wire import Kind
from policyd.decisions import Index
from policyd.model.names import Name

SLICE_S = 0.0003
MANY = 64
"""Frames that may wait before no more are read: what was compiled arrives faster than it is loaded."""


class Loading:
    """Takes frames in their order; `swapped` is called with each new value to decide from.

    `broken` is told what went wrong where a frame cannot be loaded: nothing is loaded from then on.
    """

    def __init__(
        self,
        swapped: Callable[[Loaded], None],
        hold: Callable[[bool], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self._swapped = swapped
        self._hold = hold
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Kind, bytes]] = deque()
        self._assembly = Assembly()
        self._assembling: Name | None = None
        self._in_part = False
        self._destinations: dict[Name, Any] = {}
        self._places: dict[Name, Any] = {}
        self._large: dict[Name, list[Any]] = {}
        self._old: list[Iterator[None]] = []
        self._begun: tuple[Index, str, datetime | None] | None = None
        self._running = False
        self._held = False

    def put(self, kind: Kind, body: bytes) -> None:
        """Have a frame loaded when there is time."""
        self._waiting.append((kind, body))
        self._regulate()
        if not self._running:
            self._running = True
            gc.disable()  # what is loaded stays: walking it for cycles would take longer than loading it
            self._loop.call_soon(self._slice)

    def _slice(self) -> None:
        ends = time.perf_counter() + SLICE_S
        try:
            while more := self.step():
                if time.perf_counter() >= ends:
                    break
        except Exception as error:
            self._broken(error)
            return
        self._regulate()
        if more:
            self._loop.call_soon(self._slice)  # at the next turn: who waits for an answer has his first
        else:
            self._running = False
            gc.freeze()
            gc.enable()

    def step(self) -> bool:
        """Load a few rules of a destination, or let go of a few; returns whether there was anything to do."""
        if self._in_part:
            self._in_part = self._assembly.step()
            if not self._in_part and self._assembling is not None:
                self._put(self._assembling, self._assembly.piece, self._assembly.large)
                self._assembly, self._assembling = Assembly(), None
        elif self._waiting:
            self._load(*self._waiting.popleft())
        elif self._old and self._begun is None:  # before the swap they are in force, and nothing is freed
            if next(self._old[-1], self._old) is self._old:
                self._old.pop()
        else:
            return False
        return True

    def _load(self, kind: Kind, body: bytes) -> None:
        match kind:
            case Kind.BEGIN:
                self._begun = pickle.loads(body)  # noqa: S301  (see `wire`: the parent wrote it)
                self._destinations, self._places = dict(self._destinations), dict(self._places)
            case Kind.PART:
                self._assembly.put(body)
                self._in_part = True
            case Kind.PIECE:
                name, _, last = body.partition(b"\0")
                self._assembling = Name.parse(name.decode())
                self._assembly.put(last)
                self._in_part = True
            case Kind.GONE:
                self._put(Name.parse(body.decode()), None, [])
            case Kind.SWAP:
                assert self._begun is not None
                (shell, revision, floor), self._begun = self._begun, None
                index = replace(shell, destinations=self._destinations)
                self._swapped(Loaded(index, revision, floor, self._places))
            case _:
                raise ValueError(f"{kind!r} is no part of an update")

    def _put(self, name: Name, piece: Any, large: list[Any]) -> None:
        old = [self._destinations.pop(name, None), self._places.pop(name, None)]
        self._old.append(falling_apart(old, self._large.pop(name, [])))
        if piece is not None:
            self._destinations[name], self._places[name] = piece
            if large:
                self._large[name] = large

    def _regulate(self) -> None:
        held = len(self._waiting) > MANY
        if held != self._held:
            self._held = held
            self._hold(held)
