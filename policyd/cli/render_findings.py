"""Findings as people read them: the place, what is wrong, the line with a caret, and what to do instead.

services/checkout.yaml:14:7: error PD2104: `web-checks-out` allows every path of `checkout`
   14 |       paths: [/**]
      |               ^^^
  hint: list the paths that `web` calls
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from policyd.base.diagnostics import Finding, Severity
from policyd.cli.output import printable, words

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold blue"}
_GUTTER = 5
_LONGEST_EXCERPT = 160


def finding_text(finding: Finding) -> Text:
    """One finding, on as many lines as it needs."""
    style = _STYLE[finding.severity]
    lines = [
        Text.assemble(
            (f"{printable(str(finding.location))}: ", "bold"),
            (f"{finding.severity} {finding.code}", style),
            ": ",
            words(_indented(finding.message)),
        )
    ]
    if finding.excerpt and finding.location.line:
        lines += _excerpt(finding, style)
    if finding.hint:
        lines.append(Text.assemble(("  hint: ", "cyan"), words(_indented(finding.hint))))
    return Text("\n").join(lines)


def _indented(text: str) -> str:
    """The text with its further lines set in: a line that begins at the margin is a finding of its own."""
    return text.replace("\n", "\n    ")


def findings_text(findings: Sequence[Finding]) -> Text:
    """All findings, an empty line between any two."""
    return Text("\n\n").join(finding_text(finding) for finding in findings)


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding for programs; lines and columns count from 1, 0 means the whole file."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "message": finding.message,
        "path": finding.location.path,
        "line": finding.location.line,
        "column": finding.location.column,
        "hint": finding.hint,
        "excerpt": finding.excerpt,
    }


def count_text(findings: Iterable[Finding]) -> str:
    """`2 errors, 1 warning`; empty where there is nothing to count."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(
        f"{counts[severity]} {severity}{'s' if counts[severity] > 1 else ''}"
        for severity in sorted(Severity, reverse=True)
        if counts[severity]
    )


def _excerpt(finding: Finding, style: str) -> list[Text]:
    line, column = finding.location.line, max(finding.location.column, 1)
    source = finding.excerpt.rstrip("\n")
    skipped = max(0, column - _LONGEST_EXCERPT // 2) if len(source) > _LONGEST_EXCERPT else 0
    # Cut first: thousands of findings may be about one line of a megabyte.
    shown = printable(source[skipped : skipped + _LONGEST_EXCERPT])
    before = shown[: column - 1 - skipped]
    # Tabs stay tabs so that the caret stands under its word whatever the terminal makes of them.
    pad = "".join("\t" if character == "\t" else " " * cell_len(character) for character in before)
    width = max(1, min(finding.width, len(shown) - len(before)))
    return [
        Text.assemble((f"{line:>{_GUTTER}} | ", "dim"), shown),
        Text.assemble((f"{'':>{_GUTTER}} | ", "dim"), pad, ("^" * width, style)),
    ]
