"""An answer about a request, as text and as JSON; the same whether a folder or a controller gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from policyd.cli.output import printable, words
from policyd.decisions import Request

Json = Mapping[str, Any]
_WOULD = {"would-allow": "yellow", "would-deny": "yellow"}


def answer_text(answer: Json, asked: Request, source: str, destination: str) -> Iterator[Text]:
    """The answer, the rules that it hangs on, whose rules they are, and what proxies do meanwhile."""
    outcome = printable(answer["outcome"]) + ("" if answer["allow"] else f" ({answer['status']})")
    would = f"  {answer['would']}" if answer["would"] else ""
    yield Text.assemble(
        (outcome, "bold green" if answer["allow"] else "bold red"),
        (would, _WOULD.get(answer["would"], "")),
        f"  {printable(source)} → {printable(destination)}  ",
        words(f"{asked.method} {asked.path}".rstrip(), "bold"),
    )
    for text, place in zip(answer["reasons"], answer["places"], strict=True):
        yield Text.assemble("  ", words(text), (f"   {printable(place)}" if place else "", "dim"))
    for way in answer.get("routing", ()):
        yield Text.assemble(("  → ", "cyan"), words(way))
    about = []
    if answer["owner"]:
        about.append(f"owner {answer['owner']}")
    if answer["commit"]:
        about.append(f"commit {answer['commit'][:12]}")
    if answer["judged"] and answer["judged"] != answer["commit"]:
        about.append(f"at {answer['judged']}")
    if about:
        yield Text(printable("  " + ", ".join(about)), style="dim")
    if answer["live"]:
        yield Text(f"  {live_text(answer['live'])}", style="yellow")


def live_text(live: Json) -> str:
    """What the proxies do while they differ."""
    unknown = f"; of {live['unknown']} nobody can tell" if live["unknown"] else ""
    return f"live: {live['allow']} of {live['of']} connected proxies of the destination allow it{unknown}"


def answer_json(answer: Json, asked: Request) -> dict[str, object]:
    """The same for programs."""
    told = {name: value for name, value in answer.items() if name not in {"reasons", "places"}}
    return {
        **told,
        "source": asked.source,
        "destination": str(asked.destination),
        "method": asked.method,
        "path": asked.path,
        "reasons": [
            {"text": text, "place": place} for text, place in zip(answer["reasons"], answer["places"], strict=True)
        ],
    }
