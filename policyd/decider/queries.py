"""The query part of a target, as OPA reads it: what is asked for beside the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Query:
    """What the answer is to hold. `input` is JSON, of a `GET`."""

    pretty: bool = False
    explain: bool = False
    metrics: bool = False
    provenance: bool = False
    bundles: bool = False
    input: str | None = None
    at: str = ""
    """Whose rules are to answer: `head`, a commit, `node:ID`; empty for the promoted ones."""


PLAIN = Query()


def read_query(text: bytes) -> Query:
    """The query part of a target, without its `?`. What is not known is passed over, as OPA does it."""
    if not text:
        return PLAIN
    try:
        said = parse_qs(text.decode("ascii"), keep_blank_values=True, max_num_fields=64)
    except ValueError:  # not ASCII, or too many fields
        return PLAIN
    inputs = said.get("input")
    return Query(
        pretty=_flag(said, "pretty"),
        explain=said.get("explain", ["off"])[-1] in {"notes", "fails", "full", "debug"},
        metrics=_flag(said, "metrics") or _flag(said, "instrument"),
        provenance=_flag(said, "provenance"),
        bundles=_flag(said, "bundles") or _flag(said, "bundle"),
        input=inputs[-1] if inputs else None,
        at="" if (at := said.get("at", [""])[-1]) == "promoted" else at,
    )


def _flag(said: Mapping[str, list[str]], name: str) -> bool:
    """Named without a value, or with `true`."""
    values = said.get(name)
    return values is not None and (values == [""] or any(value.lower() == "true" for value in values))
