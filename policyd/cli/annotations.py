"""Findings as GitHub shows them on the lines of a pull request: workflow commands on standard output.

`::error file=...,line=...,col=...,endColumn=...,title=...::message`, as GitHub's reference "Workflow commands for
GitHub Actions" writes them. The runner obeys every line that begins with `::`, and findings quote what strangers
wrote, so nothing but these lines is printed beside them and all that is special in them is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import typer

from policyd.base.diagnostics import Finding, Severity
from policyd.cli.output import printable
from policyd.cli.render_findings import count_text

_COMMANDS: Mapping[Severity, str] = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def say_annotations(findings: Sequence[Finding]) -> None:
    """Print all of them, and a line that counts them."""
    for line in commands(findings):
        typer.echo(line)
    typer.echo(f"policyd: {count_text(findings) or 'nothing wrong'}")


def commands(findings: Sequence[Finding]) -> Iterator[str]:
    """One command for each finding, errors first: GitHub shows ten of a kind for each step."""
    for finding in sorted(findings, key=lambda one: -one.severity):
        yield _command(finding)


def notice(text: str) -> str:
    """A remark about the run itself."""
    return f"::notice title=policyd::{_data(text)}"


def _command(finding: Finding) -> str:
    where = finding.location
    fields: dict[str, object] = {"title": finding.code}
    if where.line:
        fields |= {"file": where.path, "line": where.line, "col": where.column}
        fields["endColumn"] = where.column + finding.width
    elif where.path != ".":
        fields["file"] = where.path
    shown = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
    text = f"{finding.message}\nhint: {finding.hint}" if finding.hint else finding.message
    return f"::{_COMMANDS[finding.severity]} {shown}::{_data(text)}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
