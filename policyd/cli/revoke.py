"""`policyd revoke`: cuts a caller off now, and shows that it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from policyd.base.errors import UsageError
from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.output import Format, OutputOption, console, printable, say_json, words

TIMEOUT_S = 60.0
"""How long an order may take: proxies that are slow to answer, and connections that end."""


def revoke(
    identity: Annotated[str, typer.Argument(help="Who: `web`, `namespace/web`, or a whole SPIFFE ID.")] = "",
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever finds it closed.")],
    to: Annotated[str, typer.Option("--to", help="The one service to cut it off from; every one if not given.")] = "",
    root: Annotated[
        str, typer.Option("--root", help="Instead of a caller: the SHA-256 of a root certificate to trust no more.")
    ] = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also where nobody is known by that SPIFFE ID: one that is gone, say.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="What the revocation is called, as in Git.")] = "",
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
) -> None:
    """Cut a caller off at once, on every proxy, whatever rules and releases say; and say where that holds.

    Nothing that goes back lets it in again: not a revert, an abort or a restart. Exit code 1 while some proxy does
    not show it. `policyd revocations lift` ends it.

    With `--root`: proxies trust that root no more, what it signed is replaced, and every connection is ended and
    begun anew.
    """
    if bool(identity) == bool(root):
        raise UsageError("say who is cut off: a caller or `--root`", hint="`policyd revoke web --reason ...`")
    client = Client(server)
    try:
        whom = {"root": root} if root else {"identity": identity}
        order = {**whom, "to": to, "reason": reason, "name": name, "anyway": anyway}
        said = client.post("/v1/revocations", order, timeout_s=TIMEOUT_S)
    finally:
        client.close()
    if output is Format.JSON:
        say_json(said)
    else:
        for line in proof(said):
            console().print(line)
        if not said["asked_for"]:
            console().print(_intent(said))
    if said["missing"]:
        raise typer.Exit(1)


def proof(said: dict[str, Any]) -> Iterator[Text]:
    """Who is cut off, and on how many proxies that holds."""
    held = said["proxies"] - len(said["missing"])
    where = f" from {printable(said['to'])}" if said["to"] else ""
    who, what = (f"root {said['root'][:16]}", "trusted no more") if said["root"] else (said["identity"], "cut off")
    yield Text.assemble((printable(who), "bold"), f" is {what}{where}: ", words(said["reason"]))
    if said.get("note"):
        yield Text.assemble("  ", (printable(said["note"]), "yellow"))
    if said["root"] and not said["proxies"]:
        return
    if not said["proxies"]:
        yield Text("  no rule lets it in anywhere, so no proxy had to change")
    else:
        style = "red" if said["missing"] else "green"
        cut = said["cut_after_s"]
        ended = f", last open connection cut after {cut:.1f} s" if cut is not None else ""
        yield Text.assemble("  ", (f"enforced on {held} of {said['proxies']} proxies{ended}", style))
    for node in said["missing"]:
        yield Text.assemble("  ", ("not yet  ", "bold red"), words(node))


def _intent(said: dict[str, Any]) -> Text:
    """What to commit, so that Git says so too. Only the namespace of the `Mesh` distrusts a root."""
    namespace, _, name = said["name"].partition("/")
    if said["root"]:
        cut, home = f"root: {json.dumps(said['root'])}", ""
    elif said["to"]:
        cut, home = f"from: {json.dumps(said['identity'])}, to: {said['to']}", f", namespace: {namespace}"
    else:
        cut, home = f"identity: {json.dumps(said['identity'])}", f", namespace: {namespace}"
    where = " beside the `Mesh`" if said["root"] else ""
    return Text(
        f"It holds until `policyd revocations lift` ends it. So that Git says it too, commit it{where} as well:\n\n"
        "apiVersion: policyd.dev/v1alpha1\nkind: Revocation\n"
        f"metadata: {{name: {name}{home}}}\n"
        f"spec:\n  cut: {{{cut}}}\n"
        f"  reason: {json.dumps(said['reason'], ensure_ascii=False)}"
    )
