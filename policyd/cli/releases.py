"""`policyd releases`: what is on its way, and the verbs that a person has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import quote

import orjson
import typer

from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import Format, OutputOption, console, say_json
from policyd.cli.render_releases import event_text, over, release_text, releases_table
from policyd.rollout.machine import Command

ReleaseArgument = Annotated[str, typer.Argument(help="The release, for example `r7`.")]


def releases() -> typer.Typer:
    """The group of verbs about releases; alone it lists them."""
    group = typer.Typer(help="List and steer the releases of a running controller.", invoke_without_command=True)
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("watch")(watch)
    group.command("promote")(_promote)
    group.command("abort")(_abort)
    group.command("pause")(_pause)
    group.command("resume")(_resume)
    return group


def _default(ctx: typer.Context, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT) -> None:
    if ctx.invoked_subcommand is None:
        list_(server, output)


def list_(
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
    finished: Annotated[bool, typer.Option("--finished/--in-flight", help="Also those that are over.")] = True,
) -> None:
    """Show the releases in flight and the latest of those that are over."""
    with _client(server) as client:
        answer = client.get("/v1/releases")
    records = [record for record in answer["releases"] if finished or not over(record)]
    if output is Format.JSON:
        say_json({"releases": records})
    elif records:
        console().print(releases_table(records))
    else:
        console().print("no releases: what Git asks for is live")


def show(release: ReleaseArgument, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT) -> None:
    """Show one release with all its evidence."""
    with _client(server) as client:
        record = client.get(f"/v1/releases/{quote(release, safe='')}")
    if output is Format.JSON:
        say_json(record)
    else:
        console().print(release_text(record))


def watch(
    release: Annotated[str | None, typer.Argument(help="Only this release; ends when it is over.")] = None,
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
) -> None:
    """Follow what happens, until interrupted or until the named release is over (exit code 1 if it was aborted)."""
    out = console()
    with _client(server) as client:
        for event in client.events():
            if release is not None and event["release"] != release:
                continue
            if output is Format.JSON:
                typer.echo(orjson.dumps(event).decode())
            else:
                out.print(event_text(event))
            if release is not None and event["kind"] in {"promoted", "aborted", "superseded"}:
                raise typer.Exit(int(event["kind"] == "aborted"))


def _promote(
    release: ReleaseArgument, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT
) -> None:
    """Take the next step without waiting for the rest of this one."""
    _command(release, Command.PROMOTE, server, output)


def _abort(
    release: ReleaseArgument, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT
) -> None:
    """Take every node back to where the change began."""
    _command(release, Command.ABORT, server, output)


def _pause(
    release: ReleaseArgument, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT
) -> None:
    """Stay at this stage. The gates are still watched: a burning canary goes back."""
    _command(release, Command.PAUSE, server, output)


def _resume(
    release: ReleaseArgument, server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT
) -> None:
    """Go on from where it was paused."""
    _command(release, Command.RESUME, server, output)


def _command(release: str, command: Command, server: str, output: Format) -> None:
    with _client(server) as client:
        record = client.post(f"/v1/releases/{quote(release, safe='')}/{command.value}")
    if output is Format.JSON:
        say_json(record)
    else:
        console().print(release_text(record))


@contextmanager
def _client(server: str) -> Iterator[Client]:
    client = Client(server)
    try:
        yield client
    finally:
        client.close()
