"""`policyd run`: the controller, in the foreground, until a signal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from policyd.base.clock import SystemClock
from policyd.base.collector import collect_for_months
from policyd.base.logs import configure_logs
from policyd.daemon.settings import Settings, read_settings


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file; the README shows one.")] = Path(
        "policyd.yaml"
    ),
) -> None:
    """Follow a repository: judge every commit, roll out what passes, go back when it burns."""
    collect_for_months()
    settings = read_settings(config)
    configure_logs(json=settings.logs.format == "json", level=settings.logs.level)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    # Servers are imported by the verb that starts them, so that all others start fast.
    from policyd.daemon.build import serve, stop_on_signals  # noqa: PLC0415

    stop = asyncio.Event()
    stop_on_signals(stop)
    await serve(settings, SystemClock(), stop)
