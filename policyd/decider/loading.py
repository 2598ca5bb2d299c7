"""Loads an update into a worker in slices, between requests, and puts it in force by one assignment.

Measured: a whole index loaded at once keeps clients waiting for as long as that takes, 39 ms of p99 where it was
compiled in a thread, 3 ms where another process did that; in slices nobody notices.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from policyd.decider.loaded import Loaded
from policyd.decider.wire import Kind
from policyd.decisions import Index
from policyd.model.names import Name

SLICE_S = 0.0003
MANY = 64
"""Frames that may wait before no more are read: what was compiled arrives faster than it is loaded."""


class Loading:
    """Takes frames in their order; `swapped` is called with each new value to decide from."""

    def __init__(self, swapped: Callable[[Loaded], None], hold: Callable[[bool], None]) -> None:
        self._swapped = swapped
        self._hold = hold
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Kind, bytes]] = deque()
        self._old: list[Any] = []
        self._destinations: dict[Name, Any] = {}
        self._places: dict[Name, Any] = {}
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
        while self._waiting or self._old:
            if self._waiting:
                self._load(*self._waiting.popleft())
            else:
                self._old.pop()
            if time.perf_counter() >= ends:
                break
        self._regulate()
        if self._waiting or self._old:
            self._loop.call_soon(self._slice)  # at the next turn: who waits for an answer has his first
        else:
            self._running = False
            gc.freeze()
            gc.enable()

    def _load(self, kind: Kind, body: bytes) -> None:
        match kind:
            case Kind.BEGIN:
                self._begun = pickle.loads(body)  # noqa: S301  (see `wire`: the parent wrote it)
                self._destinations, self._places = dict(self._destinations), dict(self._places)
            case Kind.PIECE:
                name, _, piece = body.partition(b"\0")
                self._put(Name.parse(name.decode()), pickle.loads(piece))  # noqa: S301
            case Kind.GONE:
                self._put(Name.parse(body.decode()), None)
            case Kind.SWAP:
                assert self._begun is not None
                shell, revision, floor = self._begun
                index = replace(shell, destinations=self._destinations)
                self._swapped(Loaded(index, revision, floor, self._places))
            case _:
                raise ValueError(f"{kind!r} is no part of an update")

    def _put(self, name: Name, piece: Any) -> None:
        self._old.append((self._destinations.pop(name, None), self._places.pop(name, None)))
        if piece is not None:
            self._destinations[name], self._places[name] = piece

    def _regulate(self) -> None:
        held = len(self._waiting) > MANY
        if held != self._held:
            self._held = held
            self._hold(held)
