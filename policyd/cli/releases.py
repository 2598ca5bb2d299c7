"""`policyd releases`: what is on its way, and the verbs that a person has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.console import RenderableType

from policyd.base.errors import Retry
from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.meant import Ours, meant
from policyd.cli.output import Format, OutputOption, console, say_json
from policyd.cli.render_releases import event_text, over, release_text, releases_table
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase

RETRY_S = 5.0
"""When to look again for a controller that has ended."""

ReleaseArgument = Annotated[str, typer.Argument(help="The release: `r7`, or the name of what it changes.")]


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
        record = client.get(_path(meant(client, release)))
    if output is Format.JSON:
        say_json(record)
    else:
        console().print(release_text(record))


def watch(
    release: Annotated[
        str | None, typer.Argument(help="Only this release: `r7`, or what it changes. Ends when it is over.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
) -> None:
    """Follow what happens, until interrupted or until the named release is over (exit code 1 if it was aborted).

    A name whose release has not begun yet is waited for. Exit code 2 if the controller ends first.
    """
    with _client(server) as client, client.following() as events:
        ours = Ours(client, release) if release is not None else None
        if ours is not None and ours.record is not None:
            _where_it_stands(ours.record, output)
        for event in events:
            if ours is not None and not ours.concerns(event):
                continue
            _tell(event, event_text, output)
            if ours is not None and event["kind"] in {"promoted", "aborted", "superseded"}:
                raise typer.Exit(int(event["kind"] == "aborted"))
    raise Retry(
        f"the controller at `{server}` has ended",
        after=RETRY_S,
        hint="proxies keep what they have; watch again once it is back: releases go on at the same stage",
    )


def _where_it_stands(record: dict[str, Any], output: Format) -> None:
    """What happened before somebody looked; the end, if it is over."""
    if over(record):
        _tell(record, release_text, output)
        raise typer.Exit(int(record["phase"] == Phase.ABORTED))
    if output is Format.TEXT:
        console().print(release_text(record))


def _tell(value: dict[str, Any], as_text: Callable[[dict[str, Any]], RenderableType], output: Format) -> None:
    if output is Format.JSON:
        typer.echo(orjson.dumps(value).decode())
    else:
        console().print(as_text(value))


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
        record = client.post(f"{_path(meant(client, release))}/{command.value}")
    if output is Format.JSON:
        say_json(record)
    else:
        console().print(release_text(record))


def _path(release: str) -> str:
    return f"/v1/releases/{quote(release, safe='')}"


@contextmanager
def _client(server: str) -> Iterator[Client]:
    client = Client(server)
    try:
        yield client
    finally:
        client.close()
