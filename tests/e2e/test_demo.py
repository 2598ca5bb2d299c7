"""The whole story, as a newcomer plays it: promoted, aborted, refused, denied, reverted, nothing lost."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from policyd.base.clock import SystemClock
from policyd.demo.perform import Options, perform

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def test_every_act_ends_as_it_should(envoy_binary: Path, tmp_path: Path) -> None:
    del envoy_binary  # asked for so that a machine without Envoy says so
    told = io.StringIO()
    report = tmp_path / "report.json"

    whole = await perform(Options(fast=True, report=report), Console(file=told, width=160), SystemClock())

    assert whole, told.getvalue()
    written = json.loads(report.read_text())
    assert [act["name"] for act in written["acts"]] == [
        "first commit", "good canary", "bad canary", "killed controller", "refused by a proxy", "dangerous commit",
        "denied call", "failover", "revert", "map",
    ]  # fmt: skip
    assert all(act["ok"] for act in written["acts"])
    assert written["lost"] == 0
    assert sum(act["requests"] for act in written["acts"]) > 500
    assert "climbed 5 -> 25 -> 50 -> 100 %" in told.getvalue()
    happened = {act["name"]: act["what_happened"] for act in written["acts"]}
    assert "cannot bind '127.0.1.72:15007': Address already in use" in happened["refused by a proxy"]
    assert "web -> catalog  " in happened["map"]
    assert "orders -> shipping  allowed by orders-ship, and never used" in happened["map"]
    assert "answered by bestsellers" in happened["failover"]
    assert "web -> bestsellers  " in happened["map"]
    assert "web -> bestsellers  allowed" not in happened["map"]
    assert "up at 10 % of requests" in happened["killed controller"]
