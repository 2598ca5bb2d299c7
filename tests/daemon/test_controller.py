"""What the controller does with news that must not end it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from policyd.api.metrics import ControllerMetrics
from policyd.daemon.controller import Controller, Counts
from policyd.source import SourceEvent
from policyd.source.watch import BranchRewritten, Reachable, Unreachable
from policyd.testing.clock import FakeClock


def controller() -> Controller:
    none = cast("Any", None)  # nothing else of the controller is touched
    return Controller(
        mirror=none,
        poll_s=15.0,
        admission=none,
        driver=none,
        xds=none,
        wallet=none,
        metrics=ControllerMetrics(),
        clock=FakeClock(),
        engine_name="",
        counts=lambda: Counts(0, 0, 0),
    )


@pytest.mark.parametrize("event", [BranchRewritten("a" * 40, "b" * 40), Unreachable("no such branch", "look", 15.0)])
async def test_news_of_the_source_is_logged_and_ends_nothing(event: SourceEvent) -> None:
    it = controller()
    it._on_source_event(event)
    assert it._trouble == getattr(event, "reason", "")


async def test_trouble_is_over_when_the_branch_is_back() -> None:
    it = controller()
    it._on_source_event(Unreachable("no such branch", "look", 15.0))
    it._on_source_event(Reachable("a" * 40))
    assert it._trouble == ""
