"""What lowering remembers between two commits, so that its cost follows the change.

The caller owns the memo and passes it again. What a document alone says is remembered by the document itself (the
loader gives the same object for the same blob); what several make together, by the identity of the parts. Where a
changed file still says the same, the value of before is kept, so that an edited comment changes no object.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.model.provenance import Key, Provenance

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """What one document alone says: a value of the model, where it came from, what is wrong with it."""

    value: T
    provenance: tuple[tuple[Key, Provenance], ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Made:
    inputs: tuple[object, ...]
    value: object


class LoweringMemo:
    """Two generations: what neither of the last two calls of `lower` used is forgotten. `built` counts the misses."""

    def __init__(self) -> None:
        self._young: dict[Hashable, _Made] = {}
        self._old: dict[Hashable, _Made] = {}
        self.built = 0

    def piece(self, role: str, build: Callable[..., Piece[T]], document: Document, *more: Document) -> Piece[T]:
        """What `build` makes of a document (and of those that it refers to).

        `role` tells apart several values made of the same document.
        """
        slot = (role, document.name)
        inputs = (document, *more)
        known = self._known(slot)
        if known is not None and _same(known.inputs, inputs):
            return cast("Piece[T]", known.value)
        made = build(document, *more)
        self.built += 1
        if known is not None:
            before = cast("Piece[T]", known.value)
            if before.value == made.value:
                made = Piece(before.value, made.provenance, made.findings)
        self._young[slot] = _Made(inputs, made)
        return made

    def value(self, slot: Hashable, inputs: tuple[object, ...], build: Callable[[], T]) -> T:
        """What `build` makes of `inputs`, which are compared by identity."""
        known = self._known(slot)
        if known is not None and _same(known.inputs, inputs):
            return cast("T", known.value)
        made = build()
        self.built += 1
        if known is not None and known.value == made:
            made = known.value
        self._young[slot] = _Made(inputs, made)
        return made

    def age(self) -> None:
        """Begin a new generation; `lower` does this once."""
        self._old, self._young = self._young, {}

    def _known(self, slot: Hashable) -> _Made | None:
        known = self._young.get(slot)
        if known is None:
            known = self._old.get(slot)
            if known is not None:
                self._young[slot] = known
        return known


def _same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))
