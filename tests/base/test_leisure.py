"""Work at leisure: the same items and answers, after pauses."""

from __future__ import annotations

import pytest

from policyd.base.leisure import PAUSE_S, at_leisure, leisurely


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept."""
    slept: list[float] = []
    monkeypatch.setattr("policyd.base.leisure.time.sleep", slept.append)
    return slept


def test_every_item_in_order_after_a_pause_each(pauses: list[float]) -> None:
    assert list(at_leisure(range(3))) == [0, 1, 2]
    assert pauses == [PAUSE_S] * 3


def test_a_call_answers_as_ever_after_a_pause(pauses: list[float]) -> None:
    assert leisurely(divmod)(7, 2) == (3, 1)
    assert pauses == [PAUSE_S]
