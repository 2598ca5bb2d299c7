"""A destination with thousands of rules is loaded, and let go, a few rules at a time, and comes out as it was."""

from __future__ import annotations

import gc
import itertools
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from policyd.decider.builder import Builder
from policyd.decider.loaded import Loaded
from policyd.decider.loading import Loading
from policyd.decider.pieces import STEP, Assembly, cut, falling_apart
from policyd.decider.wire import Frames, Kind, frame, frames_of
from policyd.decisions import Index
from policyd.decisions.bundle import Unpacked, provenance_document
from policyd.decisions.compiled import CompiledRule
from policyd.decisions.document import document
from policyd.model.access import Rule
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.testing import build
from tests.decider.meshes import WEB, question, shop

MANY = 1_000
PAYMENTS = Name("default", "payments")
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def many(number: int = MANY, way: str = "a") -> Mesh:
    """A shop whose `payments` has so many rules: literal paths and patterns."""
    rules = [
        build.rule(f"r{each:05}", ["web"], f"GET /{way}/{each}" if each % 2 else f"GET /{way}/{each}/{{id}}")
        for each in range(number)
    ]
    return shop(*rules)


def rules_in(values: Any) -> int:
    """How many rules are reached from some values, by whatever way."""
    seen: set[int] = set()
    waiting, count = [values], 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        count += isinstance(value, Rule | CompiledRule)
        waiting += [each for each in gc.get_referents(value) if not isinstance(each, type)]
    return count


def loaded_in_steps(parts: tuple[bytes, ...]) -> tuple[Any, list[Any], int]:
    """The piece, its large containers, and the number of steps."""
    assembly, steps = Assembly(), 0
    for part in parts:
        assembly.put(part)
        steps += 1
        while assembly.step():
            steps += 1
    return assembly.piece, assembly.large, steps


def test_many_rules_come_out_as_they_were_a_few_at_a_time() -> None:
    destination = Index.build(many()).destinations[PAYMENTS]
    places = {f"default/r{each:05}": ("a.yaml:1:1", "team") for each in range(MANY)}
    parts = cut((destination, places))
    (found, told), large, steps = loaded_in_steps(parts)
    assert found == destination
    assert told == places
    assert steps > 3 * MANY / STEP
    assert max(map(len, parts)) < 64 * 1024
    assert len(large) > 3
    # What is shared is shared still: no rule is there twice.
    assert rules_in(found) == rules_in(destination) == 2 * MANY


def test_no_step_reads_more_than_a_few_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    count = 0

    def counted(self: Rule, state: Any, original: Callable[[Rule, Any], None] = Rule.__setstate__) -> None:  # type: ignore[attr-defined]
        nonlocal count
        count += 1
        original(self, state)

    destination = Index.build(many()).destinations[PAYMENTS]
    parts = cut((destination, {}))
    monkeypatch.setattr(Rule, "__setstate__", counted)
    assembly = Assembly()
    for part in parts:
        assembly.put(part)
        more = True
        while more:
            count = 0
            more = assembly.step()
            made.append(count)
    assert sum(made) == MANY
    assert max(made) <= STEP


def test_what_is_replaced_is_let_go_a_few_rules_at_a_time() -> None:
    piece, large, _ = loaded_in_steps(cut((Index.build(many()).destinations[PAYMENTS], {})))

    def alive() -> int:
        return sum(isinstance(each, Rule) for each in gc.get_objects())

    gc.collect()
    before = alive()
    old: list[Any] = [piece]
    del piece
    counts = [before]
    for number, _ in enumerate(falling_apart(old, large)):
        if number % 50 == 0:
            counts.append(alive())
    counts.append(alive())
    freed = [earlier - later for earlier, later in itertools.pairwise(counts)]
    assert sum(freed) == MANY
    assert max(freed) <= 50 * STEP


@pytest.mark.parametrize(
    "piece", [(), ({}, {}), ("x" * 100_000,), ({n: (n, {n: n}) for n in range(5_000)}, frozenset(range(500)))]
)
def test_whatever_it_is_comes_out(piece: Any) -> None:
    found, _, _ = loaded_in_steps(cut(piece))
    assert found == piece


class Worker:
    """What a worker has of an update, without its loop's time."""

    def __init__(self) -> None:
        self.loaded: list[Loaded] = []
        self.broken: list[Exception] = []
        self.loading = Loading(self.loaded.append, lambda held: None, self.broken.append)

    def take(self, frames: Iterator[bytes]) -> None:
        for each in frames:
            for kind, body in Frames().feed(each):
                self.loading._waiting.append((kind, body))

    def finish(self) -> None:
        while self.loading.step():
            pass


def _bundle(mesh: Mesh, revision: str) -> Unpacked:
    return Unpacked(revision, document(mesh), provenance_document(revision, {}))


async def test_updates_follow_each_other_and_nothing_old_is_left() -> None:
    worker, builder = Worker(), Builder()
    for number, mesh in enumerate((many(), many(way="b"), many(10), shop(), many())):
        update = builder.build(_bundle(mesh, f"{number:040x}"))
        worker.take(frames_of(update))
        worker.finish()
        index = Index.build(mesh)
        assert worker.loaded[-1].index.destinations == index.destinations
        assert worker.loaded[-1].revision == f"{number:040x}"
    assert not worker.loading._old
    assert worker.loading._large.keys() == {PAYMENTS}
    assert not worker.broken


async def test_what_is_in_force_is_not_let_go_before_the_swap() -> None:
    worker, builder = Worker(), Builder()
    worker.take(frames_of(builder.build(_bundle(many(), "a"))))
    worker.finish()
    *before, swap = frames_of(builder.build(_bundle(many(way="b"), "b")))
    worker.take(iter(before))
    worker.finish()
    (held,) = worker.loaded
    asked = question("GET /a/1")
    assert asked["source"]["spiffe"] == WEB
    assert held.index.destinations == Index.build(many()).destinations
    assert worker.loading._old
    worker.take(iter([swap]))
    worker.finish()
    assert not worker.loading._old


async def test_what_cannot_be_loaded_is_told_and_not_tried_again() -> None:
    worker = Worker()
    worker.take(iter([frame(Kind.BEGIN, pickle.dumps(None)), frame(Kind.PIECE, b"default/x\0nonsense")]))
    worker.loading._slice()
    assert len(worker.broken) == 1
