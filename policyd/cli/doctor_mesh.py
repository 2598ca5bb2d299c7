"""`policyd doctor mesh`: every proxy of a running controller, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from policyd.cli.client import Client
from policyd.cli.output import Format, console, printable, say_json, words

_NO_VALUE = "-"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
Json = dict[str, Any]


def doctor_mesh(server: str, output: Format) -> None:
    """Examine the proxies of a controller; exit code 1 where something is wrong with one of them."""
    client = Client(server)
    try:
        found: Json = client.get("/v1/proxies")
    finally:
        client.close()
    if output is Format.JSON:
        say_json(found)
    else:
        console().print(mesh_text(found))
    if not found["well"]:
        raise typer.Exit(1)


def mesh_text(found: Json) -> Group:
    """The examination for people: a line for each proxy, then what is wrong, then what was refused before."""
    parts: list[RenderableType] = []
    if found["proxies"]:
        parts += [_table(found["proxies"]), Text()]
    ill = [proxy for proxy in found["proxies"] if proxy["problems"]]
    for proxy in ill:
        parts.append(Text(printable(proxy["node"]), style="bold red"))
        parts += [Text.assemble("  ✗ ", words(said)) for said in proxy["problems"]]
        parts += [Text.assemble("    not as it should be: ", printable(", ".join(proxy["behind"])))] * bool(
            proxy["behind"]
        )
    parts += [Text.assemble(("✗ ", "bold red"), words(said)) for said in found["problems"]]
    parts += _before(found["proxies"])
    if found["well"]:
        parts.append(Text("every proxy is well", style="bold green"))
    else:
        count = f"{len(ill)} of {len(found['proxies'])} proxies are not well" if ill else "not well"
        parts.append(Text(count, style="bold red"))
    return Group(*parts)


def _table(proxies: list[Json]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    headings = ("", "proxy", "program", "connected", "in sync", "should run", "acknowledged", "certificate", "stats")
    for heading in headings:
        table.add_column(heading)
    for proxy in proxies:
        mark, style = ("✗", "red") if proxy["problems"] else ("✓", "green")
        table.add_row(
            Text(mark, style=style),
            printable(proxy["node"]),
            printable(proxy["program"]) or _NO_VALUE,
            _yes(proxy["connected"]),
            _yes(proxy["in_sync"]),
            proxy["should_run"] or _NO_VALUE,
            proxy["acknowledged"] or _NO_VALUE,
            _certificate(proxy["certificate"]),
            _NO_VALUE if proxy["stats_age_s"] is None else f"{duration(proxy['stats_age_s'])} ago",
        )
    return table


def _before(proxies: list[Json]) -> Iterator[RenderableType]:
    """What was refused and does not stand any more: whoever looks for a cause wants to know."""
    over = [proxy for proxy in proxies if proxy["refused"] and not proxy["refused"]["stands"]]
    if over:
        yield Text("refused before, and over", style="bold")
    for proxy in over:
        refused = proxy["refused"]
        what = f"{refused['kind']} {', '.join(refused['resources'])}".strip()
        yield Text(f"  {printable(proxy['node'])}  {refused['at']}  {printable(what)}: {printable(refused['said'])}")


def _certificate(leaf: Json | None) -> str:
    if leaf is None:
        return _NO_VALUE
    return f"{duration(leaf['left_s'])} left" if leaf["left_s"] > 0 else "ended"


def duration(seconds: float) -> str:
    """A length of time in its largest whole unit: `23 h`."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "0 s"


def _yes(value: bool) -> Text:
    return Text("yes") if value else Text("no", style="red")
