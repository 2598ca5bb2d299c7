"""What the demonstration shows: a live table while an act plays, one line for each act that is over.

Without a terminal the same facts come as plain lines, one whenever something changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """One version of one service, as the controller reports it."""

    service: str
    version: str
    weight: float
    """Per cent of the service's requests."""
    rate: float
    """Requests per second."""
    errors: float
    """Per cent of them that failed."""
    p99_ms: float | None
    verdict: str
    in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is on the screen at one moment."""

    act: str
    rows: tuple[Row, ...]
    evidence: str
    requests: int
    lost: int
    proxies: str


class Screen(Protocol):
    """Where the story is told."""

    def open(self) -> None:
        """Begin to draw."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...

    def say(self, line: RenderableType) -> None:
        """A line that stays."""
        ...

    def show(self, picture: Picture) -> None:
        """The moment as it is now; replaces the last one."""
        ...


class LiveScreen:
    """A terminal: the table is redrawn in place, lines scroll above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def open(self) -> None:
        """Begin to draw."""
        self._live.start()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def say(self, line: RenderableType) -> None:
        """Print above the table."""
        self._console.print(line)

    def show(self, picture: Picture) -> None:
        """Redraw the table."""
        self._live.update(_drawn(picture))


class PlainScreen:
    """A file or a pipe: a line whenever a weight or a verdict of a change in flight is another."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[float, str]] = {}

    def open(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to restore."""

    def say(self, line: RenderableType) -> None:
        """Print the line, however long: a file has no edge."""
        self._console.print(line, soft_wrap=True)

    def show(self, picture: Picture) -> None:
        """Print what is new about the changes in flight."""
        for row in picture.rows:
            name = f"{row.service} {row.version}"
            now = (row.weight, row.verdict.partition(":")[0])
            if row.in_flight and self._last.get(name) != now:
                self._console.print(
                    f"    {name}: {row.weight:g} % of requests, {row.rate:.0f}/s, {row.errors:.1f} % errors"
                    f"{f' - {row.verdict}' if row.verdict else ''}",
                    soft_wrap=True,
                )
            self._last[name] = now


def screen_for(console: Console) -> Screen:
    """The screen that fits where the output goes."""
    return LiveScreen(console) if console.is_terminal else PlainScreen(console)


def _drawn(picture: Picture) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for heading, justify in (
        ("service", "left"), ("version", "left"), ("weight", "left"), ("req/s", "right"),
        ("errors", "right"), ("p99", "right"), ("verdict", "left"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    last = ""
    for row in picture.rows:
        table.add_row(
            Text(row.service if row.service != last else "", style="bold"),
            row.version,
            _bar(row),
            f"{row.rate:.0f}",
            Text(f"{row.errors:.1f} %", style="red" if row.errors >= 1 else "dim"),
            "-" if row.p99_ms is None else f"{row.p99_ms:.0f} ms",
            Text(row.verdict, style=_verdict_style(row.verdict)),
        )
        last = row.service
    lost = Text.assemble(
        ("  requests ", "dim"), f"{picture.requests:,}", ("   lost ", "dim"),
        (f"{picture.lost}", "bold red" if picture.lost else "bold green"), ("   proxies ", "dim"), picture.proxies,
    )  # fmt: skip
    parts: list[RenderableType] = [Text(f"\n  {picture.act}", style="bold cyan"), Padding(table, (1, 0, 1, 2))]
    if picture.evidence:
        parts.append(Text(f"  {picture.evidence}", style="yellow"))
    return Group(*parts, lost)


def _bar(row: Row) -> Text:
    filled = round(row.weight / 5)
    style = "magenta" if row.in_flight else "green"
    return Text.assemble(("━" * filled, style), ("━" * (20 - filled), "grey23"), f" {row.weight:3.0f} %")


def _verdict_style(verdict: str) -> str:
    for word, style in (("abort", "bold red"), ("quarantine", "red"), ("promote", "green"), ("continue", "green")):
        if word in verdict:
            return style
    return "yellow" if verdict else ""
