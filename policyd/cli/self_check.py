"""`policyd self-check`: whether a controller has drifted from what Git and its mesh say."""

from __future__ import annotations

import typer

from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import Format, OutputOption, console, say_json, words


def self_check(server: ServerOption = DEFAULT_SERVER, output: OutputOption = Format.TEXT) -> None:
    """Let the controller work everything out once more without its memory, and compare. It does so by itself, too.

    What differs is made anew at once. Exit code 1 where something did.
    """
    client = Client(server)
    try:
        answer = client.post("/v1/self-check")
    finally:
        client.close()
    if output is Format.JSON:
        say_json(answer)
    elif not answer["compared"]:
        console().print("not compared: something is on its way to the proxies, ask again")
    elif answer["drifted"]:
        for line in answer["drifted"]:
            console().print(words(line, "red"))
        console().print("all of it is made anew")
    else:
        console().print("all is as a controller without memory would have it")
    if answer["drifted"]:
        raise typer.Exit(1)
