"""`policyd why`: a line of a sidecar's access log, replayed: which rule decided, or came nearest, and where it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from policyd.base.clock import SystemClock
from policyd.base.errors import UsageError
from policyd.cli.access_line import Logged, NobodyError, destination_of, differences, read_line
from policyd.cli.asking import ClaimOption, IpOption, Known, TokenStateOption, address_of
from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.explain import ask, known_by, look, said_by
from policyd.cli.logged_way import way_json, way_text
from policyd.cli.not_replayed import ByItself, as_json, as_text, nobody, unread
from policyd.cli.output import Format, OutputOption, console, say_json, words
from policyd.cli.render_answer import answer_json, answer_text
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.decisions import Cause, Request
from policyd.decisions.reasons import caller_text, short
from policyd.model.names import spiffe_id
from policyd.model.node import service_of


def why(
    line: Annotated[str, typer.Argument(help="The line, in quotes; standard input if it is `-` or left out.")] = "-",
    *,
    source: Annotated[str, typer.Option("--from", help="Who called, where the line is of his own sidecar.")] = "",
    destination: Annotated[str, typer.Option("--to", help="Who was called, where the host does not tell.")] = "",
    ip: IpOption = "",
    token: TokenStateOption = None,
    jwt_claim: ClaimOption = None,
    at: Annotated[
        str,
        typer.Option(
            "--at", help="Whose rules: `promoted`, `head`, a commit, `node:ID`; the node's, if the line says it."
        ),
    ] = "",
    path: Annotated[
        Path | None, typer.Option("--path", help="Replay by the intents in a folder, without a controller.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
) -> None:
    """Replay a logged request at its instant; say which rule decided, and whether the log says so too.

    Exit code 1 where the log and the replay disagree.
    """
    if path is not None and at:
        raise UsageError("`--at` asks a controller and `--path` a folder", hint="leave one of them out")
    logged = read_line(_given(line))
    if logged.unread:
        _say_by_itself(unread(logged), logged, output)
        return

    def read(known: Known) -> Request:
        asked = _request(logged, known, source, destination)
        return asked._replace(ip=address_of(ip) or logged.ip, token=known.token(token, jwt_claim or ()))

    answer: dict[str, Any]
    try:
        if path is not None:
            said = said_by(path)
            known = Known.of(said.mesh)
            asked = read(known)
            answer = asdict(look(said, asked, logged.start or SystemClock().now(), path, logged.rule))
        else:
            client = Client(server)
            try:
                known = known_by(client)
                asked = read(known)
                when = {"when": logged.start.isoformat()} if logged.start is not None else {}
                answer = ask(client, asked, at or _of_node(logged), logged=logged.rule, **when)
            finally:
                client.close()
        if not destination and logged.way.route == NOT_IN_SCOPE and answer["cause"] == Cause.UNKNOWN_DESTINATION:
            raise NobodyError(logged.host)
    except NobodyError:
        _say_by_itself(nobody(logged), logged, output)
        return
    differs = differences(logged, answer)
    if output is Format.JSON:
        told = {"rule": logged.rule, "status": logged.status, "start": logged.start}
        way = way_json(logged.way, known.instances)
        say_json(
            {**answer_json(answer, asked), "logged": told, "way": way, "agrees": not differs, "differences": differs}
        )
    else:
        _say(answer, asked, known, differs, logged)
    if differs:
        raise typer.Exit(1)


def _given(line: str) -> str:
    if line != "-":
        return line
    lines = [each for each in sys.stdin.read(1 << 20).splitlines() if each.strip()]
    if len(lines) != 1:
        raise UsageError(f"{len(lines)} lines were given", hint="one line of an access log at a time")
    return lines[0]


def _request(logged: Logged, known: Known, source: str, destination: str) -> Request:
    """The request of a line, with what was typed in the place of what it does not say."""
    caller = known.identity(source) if source else logged.caller or _writer(logged, known)
    if not caller:
        raise UsageError("the line does not say who called", hint="the sidecar of the caller wrote it: `--from web`")
    to = known.service(destination) if destination else destination_of(logged, known)
    return Request(caller, to, logged.method, logged.path, logged.host)


def _writer(logged: Logged, known: Known) -> str:
    """Who called, by a line of his own sidecar."""
    service = service_of(logged.node)
    return spiffe_id(known.trust_domain, service) if service is not None and not logged.inbound else ""


def _of_node(logged: Logged) -> str:
    return f"node:{logged.node}" if logged.node and logged.inbound else "promoted"


def _say_by_itself(said: ByItself, logged: Logged, output: Format) -> None:
    if output is Format.JSON:
        say_json(as_json(said, logged))
        return
    for text in as_text(said, logged):
        console().print(text)


def _say(answer: Mapping[str, Any], asked: Request, known: Known, differs: Sequence[str], logged: Logged) -> None:
    out = console()
    caller = caller_text(asked.source, known.trust_domain).strip("`")
    for line in answer_text(answer, asked, caller, short(asked.destination)):
        out.print(line)
    for said in way_text(logged.way, known.instances):
        out.print(Text.assemble(("  · ", "cyan"), words(said)))
    for difference in differs:
        out.print(Text.assemble(("  ! ", "bold yellow"), words(difference)))
    if not differs and logged.outcome is None:
        out.print(Text("  the caller's own sidecar knows no rules: what they say is the replay's word", style="dim"))
    elif not differs:
        out.print(Text("  the log says the same", style="green"))
