"""`policyd`: the verbs, and what happens when one of them cannot do its work.

Exit codes, of every verb: 0 fine, 1 findings (or: no), 2 could not tell.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from policyd.base.collector import collect_seldom
from policyd.base.errors import PolicydError
from policyd.cli.output import say_error
from policyd.cli.version import version_text

COULD_NOT_TELL = 2
_HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class Verbs(TyperGroup):
    """The group of all verbs: an error that policyd raises on purpose becomes words, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        try:
            return super().invoke(ctx)
        except PolicydError as error:
            say_error(error)
            raise typer.Exit(COULD_NOT_TELL) from error


class Verb(NamedTuple):
    """A word of the command line, the function in `policyd.cli` that does it, and where the help shows it."""

    word: str
    function: str
    panel: str


_INTENTS, _CONTROLLER, _MACHINE = "Intents", "Controller", "This machine"
VERBS = (
    Verb("init", "init:init", _INTENTS),
    Verb("check", "check:check", _INTENTS),
    Verb("diff", "diff:diff", _INTENTS),
    Verb("review", "review:review", _INTENTS),
    Verb("test", "policy_tests:try_tests", _INTENTS),
    Verb("explain", "explain:explain", _INTENTS),
    Verb("why", "why:why", _INTENTS),
    Verb("compile", "compile:compile_", _INTENTS),
    Verb("schema", "schema:schema", _INTENTS),
    Verb("run", "run:run", _CONTROLLER),
    Verb("decide", "decide:decide", _CONTROLLER),
    Verb("bootstrap", "bootstrap:bootstrap", _CONTROLLER),
    Verb("status", "status:status", _CONTROLLER),
    Verb("releases", "releases:releases", _CONTROLLER),
    Verb("map", "service_map:map_", _CONTROLLER),
    Verb("revoke", "revoke:revoke", _CONTROLLER),
    Verb("revocations", "revocations:revocations", _CONTROLLER),
    Verb("self-check", "self_check:self_check", _CONTROLLER),
    Verb("accept-clock", "accept_clock:accept_clock", _CONTROLLER),
    Verb("recover", "recover:recover", _CONTROLLER),
    Verb("demo", "demo:demo", _MACHINE),
    Verb("doctor", "doctor:doctor", _MACHINE),
)
"""In the order of the help."""
_GROUPS = {"releases", "revocations"}
"""Words with verbs of their own."""


def build(asked: str | None = None) -> typer.Typer:
    """The command line with all its verbs, or with the one that was asked for: what the others need is not imported.

    A word that is no verb gets them all, so that the answer can name the nearest.
    """
    app = typer.Typer(
        name="policyd",
        cls=Verbs,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings=_HELP_NAMES,
        help="A service mesh that is run from Git: who may call whom, which version serves, what healthy means.",
        epilog="Exit codes: 0 fine, 1 findings, 2 could not tell.",
    )
    app.callback()(_options)
    for verb in [verb for verb in VERBS if verb.word == asked] or VERBS:
        module, _, name = verb.function.partition(":")
        found = getattr(importlib.import_module(f"policyd.cli.{module}"), name)
        if verb.word in _GROUPS:
            app.add_typer(found(), name=verb.word, rich_help_panel=verb.panel)
        else:
            app.command(verb.word, rich_help_panel=verb.panel)(found)
    return app


def main() -> None:
    """Entry point of the `policyd` command."""
    collect_seldom()
    build(sys.argv[1] if len(sys.argv) > 1 else None)()


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version_text())
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which policyd this is.")
    ] = False,
) -> None:
    """Options that stand before the verb."""
