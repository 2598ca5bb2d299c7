"""What the controller does with news that must not end it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from policyd.api.control import TroubleStatus
from policyd.api.metrics import ControllerMetrics
from policyd.base.errors import Stalled
from policyd.daemon.controller import Controller, Counts
from policyd.daemon.troubles import About, Troubles
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
        key_sets=none,
        recovery=none,
        troubles=Troubles(),
        metrics=ControllerMetrics(),
        clock=FakeClock(),
        engine_name="",
        self_check_s=600.0,
        counts=lambda: Counts(0, 0, 0, 0),
    )


@pytest.mark.parametrize("event", [BranchRewritten("a" * 40, "b" * 40), Unreachable("no such branch", "look", 15.0)])
async def test_news_of_the_source_is_logged_and_ends_nothing(event: SourceEvent) -> None:
    it = controller()
    it._on_source_event(event)
    assert str(it._troubles) == ("repository: no such branch (look)" if isinstance(event, Unreachable) else "")


async def test_one_trouble_neither_hides_nor_ends_another() -> None:
    it = controller()
    it._say_trouble(About.SECRETS, "secrets not renewed", Stalled("the root has expired", hint="make a new one"))
    it._on_source_event(Unreachable("no such branch", "look", 15.0))
    said = [
        TroubleStatus("repository", "no such branch (look)"),
        TroubleStatus("secrets", "the root has expired (make a new one)"),
    ]
    assert list(it._troubles.all()) == said
    it._on_source_event(BranchRewritten("a" * 40, "b" * 40))
    assert list(it._troubles.all()) == said
    it._on_source_event(Reachable("a" * 40))
    assert list(it._troubles.all()) == said[1:]
