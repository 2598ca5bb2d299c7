"""`policyd map`: who may call whom, who does and how that goes, what nobody uses, and what was tried in vain."""

from __future__ import annotations

import enum
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import console, say_json
from policyd.cli.render_map import dot, mermaid, table


class MapFormat(enum.StrEnum):
    """What the map is written as."""

    TEXT = "text"
    JSON = "json"
    MERMAID = "mermaid"
    DOT = "dot"


def map_(
    server: ServerOption = DEFAULT_SERVER,
    output: Annotated[MapFormat, typer.Option("--output", "-o", help="How the map is written.")] = MapFormat.TEXT,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Only the edges of one service, to it and from it.")
    ] = "",
    unused: Annotated[
        bool, typer.Option("--unused", help="Only edges that are allowed and that nobody uses.")
    ] = False,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was tried and denied.")] = False,
) -> None:
    """Show what is allowed beside what is seen: every edge of the mesh, with the traffic of the last minute."""
    asked = {"service": service} if service else {}
    asked |= {word: "" for word, wanted in (("unused", unused), ("denied", denied)) if wanted}
    client = Client(server)
    try:
        found: dict[str, Any] = client.get(f"/v1/map?{urlencode(asked)}" if asked else "/v1/map")
    finally:
        client.close()
    match output:
        case MapFormat.JSON:
            say_json(found)
        case MapFormat.MERMAID:
            typer.echo(mermaid(found), nl=False)
        case MapFormat.DOT:
            typer.echo(dot(found), nl=False)
        case MapFormat.TEXT:
            console().print(table(found))
