"""`policyd revocations`: who is cut off, where that holds, and how it ends."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import Format, OutputOption, console, printable, say_json
from policyd.cli.revoke import proof
from policyd.model.names import Name


def revocations() -> typer.Typer:
    """The group of verbs about revocations; alone it lists them."""
    group = typer.Typer(help="List who is cut off, and end a revocation.", invoke_without_command=True)
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_)
    group.command("lift")(lift)
    return group


def _default(ctx: typer.Context, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT) -> None:
    if ctx.invoked_subcommand is None:
        list_(server, output)


def list_(server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT) -> None:
    """Show every revocation that holds, and the proxies that do not show it yet (exit code 1 if there are any)."""
    client = Client(server)
    try:
        held = client.get("/v1/revocations")["revocations"]
    finally:
        client.close()
    if output is Format.JSON:
        say_json({"revocations": held})
    elif not held:
        console().print("nobody is cut off")
    for said in held if output is Format.TEXT else ():
        console().print(printable(said["name"]), f"since {said['since']}", "" if said["asked_for"] else "not in Git")
        for line in proof(said):
            console().print(line)
    if any(said["missing"] for said in held):
        raise typer.Exit(1)


def lift(
    name: Annotated[str, typer.Argument(help="The revocation: `name` or `namespace/name`.")],
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """End what is called so and Git does not ask for (any more): the rules decide again. Says who that was."""
    meant = Name.parse(name)
    client = Client(server)
    try:
        said = client.post(f"/v1/revocations/{quote(meant.namespace, safe='')}/{quote(meant.name, safe='')}/lift")
    finally:
        client.close()
    for each in said["lifted"]:
        who = f"root {each['root'][:16]}" if each["root"] else each["identity"]
        where = f" from {each['to']}" if each["to"] else ""
        console().print(
            f"revocation `{printable(str(meant))}` is lifted: {printable(who)} is cut off{printable(where)} no more"
        )
    console().print("the rules decide again")
