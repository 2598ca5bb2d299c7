"""The memo: nothing is built twice, what is not used is forgotten, and parts live with the whole."""

from __future__ import annotations

from policyd.compiler.memo import Memo, Same


def test_a_value_is_built_once() -> None:
    memo = Memo()
    first, second = memo.get("a", object), memo.get("a", object)
    assert first is second
    assert memo.builds == 1


def test_what_is_not_used_for_two_generations_is_forgotten() -> None:
    memo = Memo()
    first = memo.get("a", object)
    memo.age()
    assert memo.get("a", object) is first
    memo.age()
    memo.age()
    assert memo.get("a", object) is not first


def test_parts_live_as_long_as_the_whole() -> None:
    memo = Memo()
    parts: list[object] = []

    def whole() -> str:
        parts.append(memo.get("part", object))
        return "whole"

    for _ in range(5):
        memo.get("whole", whole)
        memo.age()
    assert memo.get("part", object) is parts[0]
    assert len(parts) == 1


def test_steps_on_the_way_are_not_counted() -> None:
    memo = Memo()
    memo.get("step", object, counted=False)
    assert memo.builds == 0


def test_same_is_one_object_only() -> None:
    one, two = [1], [1]
    assert Same(one) == Same(one)
    assert Same(one) != Same(two)
    assert Same(one) != one
    assert len({Same(one), Same(one), Same(two)}) == 2


def test_none_is_a_value_too() -> None:
    memo = Memo()
    built: list[int] = []
    for _ in range(2):
        memo.get("none", lambda: built.append(1))
    assert built == [1]
