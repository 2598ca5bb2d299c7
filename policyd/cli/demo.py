"""`policyd demo`: a real mesh on loopback follows a Git repository, told as a story."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from policyd.base.clock import SystemClock


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Shorten every hold: about one minute.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running after the last act.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write what happened to this file, as JSON.")
    ] = None,
) -> None:
    """Show the main job on real Envoys: canaries, an abort, a crash, refusals, a denied call, a revert."""
    # Only these two verbs need servers and proxies; importing them would double the start of all others.
    from policyd.demo.perform import Options, perform  # noqa: PLC0415

    if not asyncio.run(perform(Options(fast, keep, report), Console(highlight=False), SystemClock())):
        raise typer.Exit(1)
