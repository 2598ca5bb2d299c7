"""What the controller does with news that must not end it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from policyd.daemon.controller import Controller
from policyd.source import SourceEvent
from policyd.source.watch import BranchRewritten, Unreachable
from policyd.testing.clock import FakeClock


@pytest.mark.parametrize("event", [BranchRewritten("a" * 40, "b" * 40), Unreachable("no such branch", "look", 15.0)])
async def test_news_of_the_source_is_logged_and_ends_nothing(event: SourceEvent) -> None:
    none = cast("Any", None)  # nothing else of the controller is touched
    controller = Controller(
        mirror=none,
        poll_s=15.0,
        admission=none,
        driver=none,
        xds=none,
        wallet=none,
        metrics=none,
        clock=FakeClock(),
        engine_name="",
    )
    controller._on_source_event(event)
    assert controller._trouble == getattr(event, "reason", "")
