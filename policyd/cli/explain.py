"""`policyd explain`: may A call B, and why; or what a finding's code means."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from policyd.base.clock import SystemClock
from policyd.base.errors import Retry, UsageError
from policyd.cli.asking import (
    AtOption,
    ClaimOption,
    CookieOption,
    HeaderOption,
    IpOption,
    Known,
    TokenStateOption,
    as_input,
    brought,
    by_address,
    request_of,
)
from policyd.cli.client import DEFAULT_SERVER, Client, ServerOption
from policyd.cli.codes import explanation
from policyd.cli.from_outside import explain_entrance, is_from_outside
from policyd.cli.judged import judge
from policyd.cli.output import Format, OutputOption, console, say_json, words
from policyd.cli.render_answer import answer_json, answer_text
from policyd.decisions import Answer, Index, Request, Said, explained, explained_from_caller, follow, routing
from policyd.model.names import Name
from policyd.plan.floor import without_own_cuts
from policyd.source import DirectoryTree

_CODE = re.compile(r"PD\d{4}", re.IGNORECASE)


def explain(
    request: Annotated[
        str,
        typer.Argument(
            help="The request, `GET /v1/orders`, or from outside, `GET https://shop.example/`; or a code."
        ),
    ],
    path: Annotated[Path, typer.Argument(help="The folder that holds the intents.")] = Path(),
    *,
    source: Annotated[str, typer.Option("--from", help="Who calls: `name`, `namespace/name`, or a SPIFFE ID.")] = "",
    destination: Annotated[str, typer.Option("--to", help="Who is called: `name` or `namespace/name`.")] = "",
    ip: IpOption = "",
    port: Annotated[int | None, typer.Option("--port", help="The port that is called; the service's own.")] = None,
    host: Annotated[str, typer.Option("--host", help="The host that the request names.")] = "",
    token: TokenStateOption = None,
    jwt_claim: ClaimOption = None,
    header: HeaderOption = None,
    cookie: CookieOption = None,
    at: AtOption = "",
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
) -> None:
    """Say whether a call is allowed, by which rule, and what came nearest; exit code 1 for no."""
    if _CODE.fullmatch(request):
        _say_code(request.upper(), output)
        return
    if is_from_outside(request) and not (source or destination or at):
        said = said_by(path)
        carried = Known.of(said.mesh).token(token, jwt_claim or ())
        if not explain_entrance(said, request, carried, SystemClock().now(), path, as_json=output is Format.JSON):
            raise typer.Exit(1)
        return
    if not source or not destination:
        raise UsageError("who calls whom?", hint="policyd explain --from web --to checkout 'POST /v1/orders'")

    headers = brought(header or (), cookie or ())

    def read(known: Known) -> Request:
        carried = known.token(token, jwt_claim or ())
        asked = request_of(known, source, destination, request, host=host, ip=ip, port=port, token=carried)
        return asked._replace(headers=headers)

    answer: dict[str, Any]
    if at:
        client = Client(server)
        try:
            asked = read(known_by(client))
            answer = ask(client, asked, at, sent="yes")
        finally:
            client.close()
    else:
        said = said_by(path)
        asked = read(Known.of(said.mesh))
        answer = asdict(look(said, asked, SystemClock().now(), path, sent=True))
    if output is Format.JSON:
        say_json(answer_json(answer, asked))
    else:
        for line in answer_text(answer, asked, source, destination):
            console().print(line)
    if not answer["allow"]:
        raise typer.Exit(1)


def said_by(path: Path) -> Said:
    """What a folder says, minus who it cuts off. Raises `RefusedTree` where it has errors."""
    judged = judge(DirectoryTree(path))
    mesh = judged.mesh()
    return Said(without_own_cuts(mesh), judged.lowered.provenance, cuts=tuple(mesh.revocations.values()))


def look(said: Said, asked: Request, at: datetime, path: Path, logged: str = "", *, sent: bool = False) -> Answer:
    """The answer of a folder, with places as a person in the current directory would type them.

    `sent`: the request is as its caller sends it, else as it arrives.
    """
    index, ways = Index.build(said.mesh), partial(routing, said.mesh)
    if sent:
        answer = explained_from_caller(said, index, follow(index, said.mesh, asked, at), ways, at)
    else:
        answer = explained(said, index, asked, ways, at, logged=logged)
    place, *places = (str(path / each) if each else "" for each in (answer.place, *answer.places))
    return replace(answer, place=place, places=tuple(places))


def known_by(client: Client) -> Known:
    """What names mean to a controller. Raises `Retry` where it does not answer, or has no mesh yet."""
    status = client.get("/v1/status")
    outside = {host: Name.parse(egress) for host, egress in status.get("outside", {}).items()}
    instances = by_address(each["node"] for each in status["nodes"])
    return Known(status["trust_domain"], status["issuers"], outside=outside, instances=instances)


def ask(client: Client, asked: Request, at: str, **more: str) -> dict[str, Any]:
    """The answer of a controller. Raises `Retry` before it has one."""
    found: dict[str, Any] = client.post("/v1/explain", {"input": as_input(asked)}, params={"at": at, **more})
    if "outcome" not in found:
        raise Retry(found.get("message", "the controller cannot answer now"), after=1.0)
    return found


def _say_code(code: str, output: Format) -> None:
    found = explanation(code)
    if output is Format.JSON:
        say_json({"code": found.code, "title": found.title, "text": found.text})
        return
    out = console()
    out.print(Text.assemble((f"{found.code}  ", "bold"), words(found.title, "bold")))
    out.print(words(found.text))
