"""`policyd accept-clock`: the way back from a clock that was far ahead."""

from __future__ import annotations

from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import console


def accept_clock(server: ServerOption = DEFAULT_SERVER) -> None:
    """Say that the controller's clock is right now, and was ahead before.

    Rules that it took as expired then hold again, until the clock says that they end. Nothing else opens a rule
    that has expired: not a clock that is set back, not a restart, not a revert.
    """
    client = Client(server)
    try:
        client.post("/v1/clock/accept")
    finally:
        client.close()
    console().print("rules end by the controller's clock as it is now")
