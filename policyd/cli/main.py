"""`policyd`: the verbs, and what happens when one of them cannot do its work.

Exit codes, of every verb: 0 fine, 1 findings (or: no), 2 could not tell.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from policyd.base.collector import collect_seldom
from policyd.base.errors import PolicydError
from policyd.cli.bootstrap import bootstrap
from policyd.cli.check import check
from policyd.cli.compile import compile_
from policyd.cli.demo import demo
from policyd.cli.diff import diff
from policyd.cli.doctor import doctor
from policyd.cli.explain import explain
from policyd.cli.init import init
from policyd.cli.output import say_error
from policyd.cli.releases import releases
from policyd.cli.review import review
from policyd.cli.run import run
from policyd.cli.schema import schema
from policyd.cli.status import status
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


def build() -> typer.Typer:
    """The command line with all its verbs."""
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
    app.command("init", rich_help_panel="Intents")(init)
    app.command("check", rich_help_panel="Intents")(check)
    app.command("diff", rich_help_panel="Intents")(diff)
    app.command("review", rich_help_panel="Intents")(review)
    app.command("explain", rich_help_panel="Intents")(explain)
    app.command("compile", rich_help_panel="Intents")(compile_)
    app.command("schema", rich_help_panel="Intents")(schema)
    app.command("run", rich_help_panel="Controller")(run)
    app.command("bootstrap", rich_help_panel="Controller")(bootstrap)
    app.command("status", rich_help_panel="Controller")(status)
    app.add_typer(releases(), name="releases", rich_help_panel="Controller")
    app.command("demo", rich_help_panel="This machine")(demo)
    app.command("doctor", rich_help_panel="This machine")(doctor)
    return app


def main() -> None:
    """Entry point of the `policyd` command."""
    collect_seldom()
    build()()


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
