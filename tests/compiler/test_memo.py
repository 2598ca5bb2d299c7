"""The memo: nothing is built twice, what is not used is forgotten, and parts live with the whole."""

from __future__ import annotations

from policyd.compiler.memo import SMALL, Memo, Same


def test_a_value_is_built_once() -> None:
    memo = Memo()
    first, second = memo.get("a", object), memo.get("a", object)
    assert first is second
    assert memo.builds == 1


def grow(memo: Memo, start: int, count: int = SMALL + 1) -> None:
    """Ask for values that nobody asks for again."""
    for number in range(start, start + count):
        memo.get(number, object)


def test_what_is_asked_for_stays_and_the_rest_goes() -> None:
    memo = Memo()
    kept = memo.get("kept", object)
    for turn in range(20):
        grow(memo, turn * 1_000)
        assert memo.get("kept", object) is kept
        memo.age()
    assert memo.size <= 4 * SMALL


def test_a_small_memo_forgets_nothing() -> None:
    memo = Memo()
    first = memo.get("a", object)
    for _ in range(10):
        memo.age()
    assert memo.get("a", object) is first


def test_parts_live_as_long_as_the_whole() -> None:
    memo = Memo()
    parts: list[object] = []

    def whole() -> str:
        parts.append(memo.get("part", object))
        return "whole"

    for turn in range(10):
        memo.get("whole", whole)
        grow(memo, turn * 1_000)
        memo.age()
    assert memo.get("part", object) is parts[0]
    assert len(parts) == 1


def test_steps_on_the_way_are_not_counted() -> None:
    memo = Memo()
    memo.get("step", object, counted=False)
    assert memo.builds == 0


def test_none_is_a_value_too() -> None:
    memo = Memo()
    built: list[int] = []
    for _ in range(2):
        memo.get("none", lambda: built.append(1))
    assert built == [1]


def test_same_is_one_object_only() -> None:
    one, two = [1], [1]
    assert Same(one) == Same(one)
    assert Same(one) != Same(two)
    assert Same(one) != one
    assert len({Same(one), Same(one), Same(two)}) == 2
