"""`policyd recover`: the way on from a store that was lost."""

from __future__ import annotations

from typing import Annotated

import typer

from policyd.base.errors import UsageError
from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import console

PATIENCE_S = 120.0
"""How long the controller may take: proxies acknowledge what they are led to before it answers."""


def recover(
    promoted: Annotated[
        str | None,
        typer.Option(
            "--promoted",
            metavar="COMMIT",
            help="The commit that was promoted last; `HEAD` serves what Git says now, at once.",
        ),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Tell a controller that has lost its store what was promoted. `policyd status` says what proxies run.

    Proxies are led to that commit; what Git has asked for since then is rolled out from there, canaries and all,
    from their first stages. Until this is said they keep what they run.
    """
    if promoted is None:
        raise UsageError("nothing to recover is named", hint="`--promoted COMMIT`; `policyd status` names the commit")
    client = Client(server)
    try:
        said = client.post("/v1/recover", {"promoted": promoted}, timeout_s=PATIENCE_S)
    finally:
        client.close()
    console().print(f"commit {said['promoted'][:10]} is taken for promoted; releases go on from there")
