"""The controller's settings on the command line, so that a pull request is judged as the controller will judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from policyd.intents import Bindings

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The controller's settings: judge by the folders that they bind namespaces to."),
]


def bindings(settings: Path | None) -> Bindings:
    """What the settings file binds; nothing without one. Raises `UsageError` where the file is not in order."""
    if settings is None:
        return Bindings()
    # The daemon's rooms take time to import, and most checks need none of them.
    from policyd.daemon.settings import read_settings  # noqa: PLC0415

    return read_settings(settings).bindings
