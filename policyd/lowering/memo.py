"""What lowering remembers between two commits, so that its cost follows the change.

The caller owns the memo and passes it again. What a document alone says is remembered by the document itself (the
loader gives the same object for the same blob); what many say together, by the identity of the parts. Where a
changed file still says the same, the value of before is kept, so that an edited comment changes no object.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

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
    value: Any
    parts: tuple[Hashable, ...] = ()
    """The slots that were asked for while it was made: they live as long as it does."""


class LoweringMemo:
    """Remembers the last two calls of `lower` (the promoted tree and the head may take turns).

    `built` counts what really had to be made.
    """

    def __init__(self) -> None:
        self._young: dict[Hashable, _Made] = {}
        self._old: dict[Hashable, _Made] = {}
        self._pieces: dict[str, tuple[tuple[object, ...], Mapping[Document, Any], Mapping[Document, Any]]] = {}
        self._open: list[list[Hashable]] = []
        self.built = 0

    def pieces(
        self,
        role: str,
        documents: Sequence[Document],
        build: Callable[[Document], Piece[T]],
        context: tuple[object, ...] = (),
    ) -> tuple[Piece[T], ...]:
        """What `build` makes of each document, in their order.

        `role` tells apart several values made of the same document. `context` is what else `build` reads, compared
        by identity: another context forgets what was made in the one before.
        """
        made_in, last, before = self._pieces.get(role, ((), {}, {}))
        if not _same(made_in, context):
            last, before = {}, {}
        known: dict[Document, Piece[T] | None] = {document: last.get(document) for document in documents}
        missing = [document for document, piece in known.items() if piece is None]
        if missing:
            by_name = {document.name: piece for document, piece in last.items()}
            for document in missing:
                known[document] = before.get(document) or self._build(build, document, by_name.get(document.name))
        if missing or len(known) != len(last):
            self._pieces[role] = (context, known, last)
        return tuple(cast("dict[Document, Piece[T]]", known).values())

    def value(self, slot: Hashable, inputs: tuple[object, ...], build: Callable[[], T]) -> T:
        """What `build` makes of `inputs`, which are compared by identity; an equal result keeps its identity."""
        if self._open:
            self._open[-1].append(slot)
        known = self._young.get(slot)
        if known is None:
            known = self._old.get(slot)
        if known is not None and _same(known.inputs, inputs):
            self._keep(slot, known)
            return cast("T", known.value)
        self._open.append([])
        try:
            made = build()
        finally:
            parts = self._open.pop()
        self.built += 1
        if known is not None and known.value == made:
            made = known.value
        self._young[slot] = _Made(inputs, made, tuple(parts))
        return made

    def kept(self, slot: Hashable, value: T) -> T:
        """`value`, or the equal object that was there before: it can then be an input of `value`."""
        known = self._young.get(slot) or self._old.get(slot)
        if known is None or known.value != value:
            known = _Made((), value)
        self._young[slot] = known
        return cast("T", known.value)

    def age(self) -> None:
        """Begin a new generation; `lower` does this once."""
        self._old, self._young = self._young, {}

    def _keep(self, slot: Hashable, made: _Made) -> None:
        """Into the young generation, with its parts, for which nobody asks while the whole is remembered."""
        self._young[slot] = made
        for part in made.parts:
            if part not in self._young and part in self._old:
                self._keep(part, self._old[part])

    def _build(self, build: Callable[[Document], Piece[T]], document: Document, before: Piece[T] | None) -> Piece[T]:
        self.built += 1
        made = build(document)
        if before is not None and before.value == made.value:
            return Piece(before.value, made.provenance, made.findings)
        return made


def _same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))
