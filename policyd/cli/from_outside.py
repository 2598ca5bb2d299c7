"""`policyd explain 'GET https://shop.example/v1/orders'`: a request from outside, by the gateway that takes it in."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from policyd.base.errors import UsageError
from policyd.cli.output import console, say_json, words
from policyd.cli.render_answer import answer_json, answer_text
from policyd.decisions import Answer, Entrance, Index, Said, Token, answered, as_gateways_see, entering, routing

SCHEMES = ("https://", "http://")


def is_from_outside(line: str) -> bool:
    """Whether a question names a URL."""
    return line.partition(" ")[2].strip().startswith(SCHEMES)


def explain_entrance(said: Said, line: str, token: Token, at: datetime, path: Path, *, as_json: bool) -> bool:
    """Say what becomes of it; whether it is let through. Raises `UsageError` where no gateway listens for it."""
    method, _, url = line.partition(" ")
    try:
        entrance = entering(said.mesh, method, url.strip(), token)
    except ValueError as error:  # a port that is none
        raise UsageError(
            f"`{url.strip()}` is not a URL: {error}", hint="`GET https://shop.example/v1/orders`"
        ) from None
    if entrance is None:
        raise UsageError(f"no gateway listens for `{url.strip()}`", hint=_listening(said))
    answer = _answer(said, entrance, at, path)
    if as_json:
        say_json(_json(entrance, answer))
        return _let_through(entrance, answer)
    for each in entrance.said:
        console().print(Text.assemble(("  → ", "cyan"), words(each)))
    if entrance.request is None or answer is None:
        style = "bold red" if entrance.status >= 400 else "bold green"
        console().print(Text.assemble((f"answered {entrance.status}", style), words(f"  {line}", "bold")))
    else:
        source, to = str(entrance.gateway), str(entrance.request.destination)
        for text in answer_text(asdict(answer), entrance.request, source, to):
            console().print(text)
    return _let_through(entrance, answer)


def _answer(said: Said, entrance: Entrance, at: datetime, path: Path) -> Answer | None:
    if entrance.request is None:
        return None
    mesh = as_gateways_see(said.mesh)
    index = Index.build(mesh)
    answer = answered(index.decide(entrance.request, at), entrance.request, replace(said, mesh=mesh), index)
    place, *places = (str(path / each) if each else "" for each in (answer.place, *answer.places))
    ways = routing(mesh, entrance.request) if answer.allow else ()
    return replace(answer, place=place, places=tuple(places), routing=ways)


def _json(entrance: Entrance, answer: Answer | None) -> dict[str, Any]:
    edge: dict[str, Any] = {"gateway": str(entrance.gateway), "entrance": list(entrance.said)}
    if entrance.request is None or answer is None:
        return {**edge, "allow": entrance.status < 400, "status": entrance.status}
    return {**edge, **answer_json(asdict(answer), entrance.request)}


def _let_through(entrance: Entrance, answer: Answer | None) -> bool:
    return answer.allow if answer is not None else entrance.status < 400


def _listening(said: Said) -> str:
    """What is listened for, as a hint."""
    found = [
        f"`{'https' if each.certificate else 'http'}://{host}:{each.port}`"
        for service in said.mesh.services.values()
        if service.gateway is not None
        for each in service.gateway.listeners
        for host in each.hosts
    ]
    return f"gateways listen for {', '.join(found[:5])}" if found else "the mesh has no gateway"
