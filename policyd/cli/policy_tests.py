"""`policyd test`: every case of every `PolicyTest` in a folder, and what the rules there say to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from policyd.base.clock import SystemClock
from policyd.cli.judged import judge
from policyd.cli.output import Format, OutputOption, console, say_json, words
from policyd.decisions.expectations import Expectations, Tried
from policyd.plan.floor import without_own_cuts
from policyd.source import DirectoryTree


def try_tests(
    path: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder that holds the intents.")] = Path(),
    output: OutputOption = Format.TEXT,
) -> None:
    """Try what the folder's PolicyTests expect of its access rules; exit code 1 where one does not hold."""
    judged = judge(DirectoryTree(path))
    mesh = without_own_cuts(judged.mesh())
    tried = Expectations().judge(judged.loaded.documents, mesh, SystemClock().now())
    failed = sum(not one.passed for one in tried)
    if output is Format.JSON:
        cases = [_json(one, path) for one in tried]
        say_json({"ok": not failed, "passed": len(tried) - failed, "failed": failed, "cases": cases})
    else:
        for line in _text(tried, path):
            console().print(line)
    if failed:
        raise typer.Exit(1)


def _text(tried: Sequence[Tried], path: Path) -> Iterator[Text]:
    for one in tried:
        yield _line(one, path)
        if not one.passed:
            yield from (words(f"      {reason.text}") for reason in one.followed.reasons)
    failed = sum(not one.passed for one in tried)
    if not tried:
        yield Text("no `PolicyTest` is here: `policyd schema` says what one looks like", style="dim")
    elif failed:
        yield Text(f"✗ {failed} of {len(tried)} cases are not as expected", style="bold red")
    else:
        yield Text(f"✓ all {len(tried)} cases are as expected", style="bold green")


def _line(one: Tried, path: Path) -> Text:
    case = one.case
    method, request = case.request
    answer = (
        f"{case.expect}" if one.passed else f"{case.expect} expected, {one.followed.outcome} ({one.followed.status})"
    )
    return Text.assemble(
        ("  ✓ ", "green") if one.passed else ("  ✗ ", "bold red"),
        f"{one.document.name.name}  {case.from_} → {case.to}  ",
        words(f"{method} {request}", "bold"),
        "".join(f"  {name}: {value}" for name, value in one.followed.sent.headers or ()),
        (f"  {answer}", "" if one.passed else "bold red"),
        (f"   {path / str(one.place)}", "dim"),
    )


def _json(one: Tried, path: Path) -> dict[str, object]:
    return {
        "test": str(one.document.name),
        "place": str(path / str(one.place)),
        "from": one.case.from_,
        "to": str(one.followed.sent.destination),
        "method": one.followed.sent.method,
        "path": one.followed.sent.path,
        "headers": [list(each) for each in one.followed.sent.headers or ()],
        "expect": one.case.expect,
        "outcome": one.followed.outcome.value,
        "status": one.followed.status,
        "passed": one.passed,
        "reasons": [reason.text for reason in one.followed.reasons],
    }
