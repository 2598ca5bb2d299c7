"""How every verb speaks: text for people (in colour on a terminal), JSON for programs, errors apart."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from policyd.base.errors import PolicydError

_BACKTICKED = r"`[^`]*`"


class Format(enum.StrEnum):
    """What a verb writes to standard output."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How the answer is written.")]


def console(*, stderr: bool = False) -> Console:
    """Where text goes: full colour on a terminal, plain and never wrapped elsewhere."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=10_000)


def say_json(value: Any) -> None:
    """Write one JSON value to standard output."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def say_error(error: PolicydError) -> None:
    """Write why a verb could not do its work, and what a person can do, to standard error."""
    out = console(stderr=True)
    out.print(Text.assemble(("policyd: ", "bold red"), words(str(error))))
    if error.hint:
        out.print(Text.assemble(("  hint: ", "cyan"), words(error.hint)))


def words(text: str, style: str = "") -> Text:
    """A message with its `names` set off; control characters from the input cannot reach the terminal."""
    made = Text(printable(text), style=style)
    made.highlight_regex(_BACKTICKED, "bold")
    return made


def printable(text: str) -> str:
    """The text with every character that a terminal might obey replaced by `\N{REPLACEMENT CHARACTER}`."""
    return "".join(
        character if character.isprintable() or character in "\t\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
