"""What people see: weights as bars on a terminal, a line for each change without one."""

from __future__ import annotations

import io

from rich.console import Console

from policyd.demo.screen import LiveScreen, Picture, PlainScreen, Row, screen_for
from policyd.demo.show import Played, report

ROW = Row("catalog", "v2", 25.0, 22.0, 0.4, 12.0, "continue: 2 of 15 s at this stage", in_flight=True)


def picture(*rows: Row) -> Picture:
    return Picture("A good canary", rows, "catalog v2: 0/40 failed", 120, 0, "15 of 15 in sync")


def test_a_terminal_gets_the_table() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    screen = screen_for(console)
    assert isinstance(screen, LiveScreen)
    screen.open()
    screen.show(picture(ROW))
    screen.close()
    text = out.getvalue()
    for word in ("catalog", "25 %", "12 ms", "15 of 15 in sync", "0/40 failed"):
        assert word in text


def test_a_file_gets_a_line_for_each_change_and_no_more() -> None:
    out = io.StringIO()
    screen = screen_for(Console(file=out, width=60))
    assert isinstance(screen, PlainScreen)
    screen.show(picture(ROW))
    screen.show(picture(ROW))
    later = Row("catalog", "v2", 50.0, 40.0, 0.0, 12.0, "promote: held long enough", in_flight=True)
    screen.show(picture(later))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "25 % of requests" in lines[0]
    assert "50 % of requests" in lines[1]


def test_the_report_counts_losses_between_acts_too() -> None:
    played = [Played("first commit", ok=True, requests=10, lost=0, seconds=1.0, what_happened="live")]
    assert report(played, lost=2) == {
        "acts": [
            {
                "name": "first commit", "ok": True, "requests": 10, "lost": 0, "seconds": 1.0,
                "what_happened": "live",
            }
        ],
        "lost": 2,
    }  # fmt: skip
