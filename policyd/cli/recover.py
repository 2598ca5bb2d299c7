"""`policyd recover`: the way on from a store, or a root certificate, that was lost."""

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
    new_root: Annotated[
        bool, typer.Option("--new-root", help="Let a new root certificate take the place of one that is gone.")
    ] = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Tell a controller that has lost something how to go on. `policyd status` says what to type.

    With --promoted, proxies are led to that commit; what Git has asked for since then is rolled out from there,
    canaries and all, from their first stages. With --new-root, proxies trust both roots first, where the old one is
    known, and get certificates of the new one then. Until a person has spoken they keep what they run.
    """
    if promoted is None and not new_root:
        raise UsageError("nothing to recover is named", hint="`policyd status` says what was lost and what to type")
    client = Client(server)
    try:
        said = client.post("/v1/recover", {"promoted": promoted or "", "new_root": new_root}, timeout_s=PATIENCE_S)
    finally:
        client.close()
    if said["promoted"]:
        console().print(f"commit {said['promoted'][:10]} is taken for promoted; releases go on from there")
    if said["new_root"]:
        console().print("certificates are signed by a new root now")
    elif said["waits_for"]:
        console().print(
            f"the new root is published; {len(said['waits_for'])} proxies do not trust it yet, and are waited for:"
            f" {', '.join(said['waits_for'][:3])}"
        )
