"""`policyd explain`: may A call B, and why; or what a finding's code means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from policyd.base.clock import SystemClock
from policyd.base.errors import UsageError
from policyd.cli.codes import explanation
from policyd.cli.judged import judge
from policyd.cli.output import Format, OutputOption, console, say_json, words
from policyd.decisions import Decision, Index, Outcome, Request
from policyd.intents.translate import nearest
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.provenance import Key, Provenance
from policyd.source import DirectoryTree

_CODE = re.compile(r"PD\d{4}", re.IGNORECASE)
_STYLE = {Outcome.ALLOW: "bold green", Outcome.DENY: "bold red", Outcome.REJECT: "bold red"}
_STATUS = {Outcome.ALLOW: "", Outcome.DENY: " (403)", Outcome.REJECT: " (400)"}


@dataclass(frozen=True, slots=True)
class Told:
    """One reason, and the place of the rule that it is about."""

    text: str
    place: str


def explain(
    request: Annotated[str, typer.Argument(help="The request, `GET /v1/orders`; or a code, `PD1103`.")],
    path: Annotated[Path, typer.Argument(help="The folder that holds the intents.")] = Path(),
    source: Annotated[str, typer.Option("--from", help="Who calls: `name`, `namespace/name`, or a SPIFFE ID.")] = "",
    destination: Annotated[str, typer.Option("--to", help="Who is called: `name` or `namespace/name`.")] = "",
    output: OutputOption = Format.TEXT,
) -> None:
    """Say whether a call is allowed, by which rule, and what came nearest; exit code 1 for no."""
    if _CODE.fullmatch(request):
        _say_code(request.upper(), output)
        return
    if not source or not destination:
        raise UsageError("who calls whom?", hint="policyd explain --from web --to checkout 'POST /v1/orders'")
    judged = judge(DirectoryTree(path))
    mesh = judged.mesh()
    asked = _request(mesh, source, destination, request)
    decision = Index.build(mesh).decide(asked, _now())
    told = [_told(reason.text, reason.rule, judged.lowered.provenance, path) for reason in decision.reasons]
    if output is Format.JSON:
        say_json(_json(asked, decision, told))
    else:
        _say(asked, decision, told, source, destination)
    if not decision.allow:
        raise typer.Exit(1)


def _now() -> datetime:
    return SystemClock().now()


def _request(mesh: Mesh, source: str, destination: str, request: str) -> Request:
    method, space, path = request.partition(" ")
    if not space:
        raise UsageError(f"`{request}` is not a request", hint="a method and a path: 'GET /v1/orders'")
    identity = source if "://" in source else spiffe_id(mesh.settings.trust_domain, _service(mesh, source))
    return Request(identity, _service(mesh, destination), method, path.strip())


def _service(mesh: Mesh, text: str) -> Name:
    name = Name.parse(text)
    if name not in mesh.services:
        known = [str(one) if "/" in text else one.name for one in mesh.services]
        raise UsageError(f"there is no service `{text}`", hint=nearest(text, known))
    return name


def _told(text: str, rule: Name | None, provenance: Mapping[Key, Provenance], path: Path) -> Told:
    known = provenance.get(Key("AccessRule", rule)) if rule is not None else None
    if known is None:
        return Told(text, "")
    where = known.location
    return Told(text, f"{(path / where.path).as_posix()}:{where.line}:{where.column}")


def _say(asked: Request, decision: Decision, told: list[Told], source: str, destination: str) -> None:
    out = console()
    out.print(
        Text.assemble(
            (f"{decision.outcome.value}{_STATUS[decision.outcome]}", _STYLE[decision.outcome]),
            f"  {source} → {destination}  ",
            words(f"{asked.method} {asked.path}", "bold"),
        )
    )
    for one in told:
        out.print(Text.assemble("  ", words(one.text), (f"   {one.place}" if one.place else "", "dim")))


def _json(asked: Request, decision: Decision, told: list[Told]) -> dict[str, object]:
    return {
        "allow": decision.allow,
        "outcome": decision.outcome.value,
        "source": asked.source,
        "destination": str(asked.destination),
        "method": asked.method,
        "path": asked.path,
        "rule": str(decision.rule) if decision.rule is not None else "",
        "reasons": [{"text": one.text, "place": one.place} for one in told],
    }


def _say_code(code: str, output: Format) -> None:
    found = explanation(code)
    if output is Format.JSON:
        say_json({"code": found.code, "title": found.title, "text": found.text})
        return
    out = console()
    out.print(Text.assemble((f"{found.code}  ", "bold"), words(found.title, "bold")))
    out.print(words(found.text))
