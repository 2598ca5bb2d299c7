"""A difference as people read it: on a terminal, and as a comment under a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.text import Text

from policyd.base.diagnostics import Finding
from policyd.cli.differences import Difference, Differences
from policyd.cli.output import printable, words
from policyd.cli.render_findings import count_text, finding_json, findings_text
from policyd.cli.said import Said

LONGEST_COMMENT = 60_000
"""Characters; GitHub refuses comments of more than 65,536."""
_NAMED_NODES = 4
_STYLE = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class Review:
    """All that `diff` shows. `findings` are those of the head."""

    base: str
    head: str
    said: tuple[Said, ...]
    differences: Differences
    findings: tuple[Finding, ...] = ()


def review_text(review: Review) -> Group:
    """The review for a terminal."""
    parts: list[Text] = []
    if review.findings:
        parts += [findings_text(review.findings), Text()]
    parts.append(Text(_headline(review), style="bold"))
    for said in review.said:
        parts.append(Text.assemble("  • ", words(said.text), (f"   {said.place}" if said.place else "", "dim")))
    for difference in review.differences.on_nodes:
        parts += [Text(), _heading(difference), *map(_line, difference.lines)]
    parts += [Text(), Text(_footer(review.differences), style="dim")]
    return Group(*parts)


def review_markdown(review: Review, limit: int = LONGEST_COMMENT) -> str:
    """The review as Markdown of at most `limit` characters; what does not fit is counted, never cut in two."""
    parts = [f"### policyd: {_plain(_headline(review))}", ""]
    parts += [f"- {_plain(said.text)}{f' — {_code(said.place)}' if said.place else ''}" for said in review.said]
    if review.findings:
        findings = findings_text(review.findings).plain
        parts += ["", f"**{count_text(review.findings)}**", "", *_fenced("text", findings)]
    closing = ["", _footer(review.differences), ""]
    room = limit - len("\n".join([*parts, *closing])) - 200
    left_out = 0
    for difference in review.differences.on_nodes:
        block = _details(difference)
        size = len("\n".join(block)) + 1
        if size > room:
            left_out += 1
            continue
        parts += block
        room -= size
    if left_out:
        parts += ["", f"_{left_out} longer difference{'s' if left_out > 1 else ''} not shown: run `policyd diff`._"]
    return "\n".join([*parts, *closing])[:limit]


def review_json(review: Review) -> dict[str, Any]:
    """The review for programs."""
    return {
        "base": review.base,
        "head": review.head,
        "changes": [asdict(said) for said in review.said],
        "nodes_added": review.differences.nodes_added,
        "nodes_removed": review.differences.nodes_removed,
        "nodes_unchanged": review.differences.unchanged,
        "compiled": [{**asdict(one), "lines": list(one.lines)} for one in review.differences.on_nodes],
        "findings": [finding_json(finding) for finding in review.findings],
    }


def refusal_markdown(findings: Sequence[Finding]) -> str:
    """A commit that cannot be compared, because its intents have errors."""
    text = findings_text(findings).plain[: LONGEST_COMMENT - 500]
    return "\n".join(["### policyd: this commit would be refused", "", *_fenced("text", text)])


def _headline(review: Review) -> str:
    count = len(review.said)
    return f"{count or 'no'} change{'' if count == 1 else 's'} from {review.base} to {review.head}"


def _heading(one: Difference) -> Text:
    kind = one.kind.rsplit(".", 1)[-1]
    title = f"{one.sign} {one.compiler} {kind} {_some(one.names)}"
    return Text.assemble((title, "bold"), (f"  on {_nodes(one.nodes)}  +{one.added} -{one.removed}", "dim"))


def _line(line: str) -> Text:
    return Text(f"  {printable(line)}", style=_STYLE.get(line[:1], ""))


def _details(one: Difference) -> list[str]:
    kind = one.kind.rsplit(".", 1)[-1]
    summary = f"<code>{one.sign} {one.compiler} {kind} {_some(one.names)}</code> on {_nodes(one.nodes)}"
    return [
        "",
        f"<details><summary>{summary}, +{one.added} -{one.removed}</summary>",
        "",
        *_fenced("diff", "\n".join(one.lines)),
        "",
        "</details>",
    ]


def _fenced(language: str, text: str) -> list[str]:
    """A code block whose fence is longer than any run of backticks inside, so that nothing breaks out of it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}{language}", printable(text), fence]


def _plain(text: str) -> str:
    """Text that is no tag, mentions nobody and is no link or picture, whoever wrote it."""
    safe = printable(text).replace("<", "&lt;").replace("@", "@\N{ZERO WIDTH SPACE}")
    return safe.replace("[", "\\[").replace("://", ":\N{ZERO WIDTH SPACE}//")


def _code(text: str) -> str:
    """Text as inline code that nothing in it can end."""
    shown = printable(text).replace("`", "'").replace("\n", " ")
    return f"`{shown}`"


def _footer(found: Differences) -> str:
    parts = []
    for nodes, what in ((found.nodes_added, "new"), (found.nodes_removed, "gone")):
        if nodes:
            parts.append(f"{what}: {_nodes(nodes)}")
    parts.append(f"{found.unchanged} proxies unchanged")
    return "; ".join(parts)


def _nodes(nodes: Sequence[str]) -> str:
    return f"{len(nodes)} {'proxy' if len(nodes) == 1 else 'proxies'} ({_some(nodes)})"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_NODES])
    return shown if len(names) <= _NAMED_NODES else f"{shown}, and {len(names) - _NAMED_NODES} more"
