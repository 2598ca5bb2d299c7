"""`policyd status`: what is live, what Git asks for, and what stands between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import Format, OutputOption, console, printable, say_json, words
from policyd.cli.render_releases import over, releases_table
from policyd.cli.waiting import wait

_NO_VALUE = "-"


def status(
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
    wait_for: Annotated[
        str | None,
        typer.Option("--wait-for", metavar="COMMIT", help="First wait until all that this commit asks for is live."),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait at the most.")] = 300.0,
) -> None:
    """Show what a running controller serves, what it was asked for, and why they differ.

    With --wait-for, exit code 1 means that the commit was refused or that something of it went back.
    """
    client = Client(server)
    try:
        lost = wait(client, wait_for, timeout) if wait_for is not None else ""
        answer = client.get("/v1/status")
    finally:
        client.close()
    if output is Format.JSON:
        say_json(answer)
    else:
        console().print(status_text(answer))
    if lost:
        console(stderr=True).print(words(lost, "bold red"))
        raise typer.Exit(1)


def status_text(answer: dict[str, Any]) -> Group:
    """The status of a controller for people."""
    parts: list[RenderableType] = list(_summary(answer))
    if answer.get("services"):
        parts += [Text(), _services(answer["services"])]
    in_flight = [record for record in answer.get("releases", ()) if not over(record)]
    if in_flight:
        parts += [Text(), releases_table(in_flight)]
    parts += _troubled(answer.get("nodes", ()))
    return Group(*parts)


def _summary(answer: dict[str, Any]) -> Iterator[Text]:
    nodes = answer.get("nodes", ())
    connected = sum(node["connected"] for node in nodes)
    in_sync = sum(node["in_sync"] for node in nodes)
    yield Text.assemble(
        (answer.get("mesh") or "no mesh yet", "bold"), f" at {(answer.get('head') or _NO_VALUE)[:12]}"
    )
    yield Text(f"  proxies  {connected} of {len(nodes)} connected, {in_sync} in sync")
    yield Text(f"  judged by {answer.get('engine') or _NO_VALUE}")
    for trouble in answer.get("troubles", ()):
        yield Text.assemble(("  trouble  ", "bold red"), f"{printable(trouble['about'])}: ", words(trouble["said"]))
    commit = answer.get("commit")
    if commit and not commit["taken"]:
        yield Text.assemble(
            ("  refused  ", "bold red"),
            f"{commit['commit'][:12]} ",
            words(commit["subject"]),
            f" by {commit['author']}",
        )
        for finding in commit["findings"]:
            place = f"{finding['file']}:{finding['line']}:{finding['column']}"
            about = f"{printable(finding['severity'])} {printable(finding['code'])}: "
            yield Text.assemble(f"    {printable(place)}: ", about, words(finding["message"]))


def _services(services: list[dict[str, Any]]) -> Table:
    table = _table("service", "version", ">share", ">instances", ">req/s", ">errors", ">p50", ">p99", "")
    for service in services:
        name = service["service"]
        for version in service["versions"]:
            asked = version["version"] == service["asked"]
            table.add_row(
                name,
                Text(version["version"], style="bold" if asked else ""),
                f"{version['weight'] / 100:g} %",
                str(version["instances"]),
                f"{version['requests_per_s']:.1f}",
                _errors(version["error_share"]),
                _milliseconds(version["p50_ms"]),
                _milliseconds(version["p99_ms"]),
                words(service["diverged"], "yellow") if asked else Text(),
            )
            name = ""
    return table


def _troubled(nodes: list[dict[str, Any]]) -> list[RenderableType]:
    troubled = [node for node in nodes if node["refused"]]
    if not troubled:
        return []
    lines = [Text.assemble((f"  {node['node']}  ", "bold red"), words(node["refused"])) for node in troubled]
    return [Text(), Text("proxies that refused what they should run", style="bold"), *lines]


def _errors(share: float) -> Text:
    return Text(f"{share * 100:.2f} %", style="red" if share else "")


def _milliseconds(value: float | None) -> str:
    return _NO_VALUE if value is None else f"{value:.0f} ms"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for heading in headings:
        table.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    return table
