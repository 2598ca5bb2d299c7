"""Releases and events as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from policyd.cli.output import printable, words
from policyd.rollout.record import Phase

_STYLE = {
    Phase.PROMOTED: "green",
    Phase.ABORTED: "red",
    Phase.ABORTING: "red",
    Phase.PROGRESSING: "cyan",
    Phase.PROMOTING: "cyan",
    Phase.PAUSED: "yellow",
    Phase.WAITING: "yellow",
}


def over(record: dict[str, Any]) -> bool:
    """Whether nothing more happens to this release."""
    return Phase(record["phase"]).over


def releases_table(records: Sequence[dict[str, Any]]) -> Table:
    """One line for each release: what it changes, how far it is, and why it is there."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for heading in ("release", "change", "phase", "stage", "requests", "why"):
        table.add_column(heading, justify="right" if heading == "requests" else "left")
    for record in records:
        phase = Phase(record["phase"])
        table.add_row(
            Text(record["id"], style="bold"),
            words(record["title"]),
            Text(phase.value, style=_STYLE.get(phase, "")),
            _stage(record) if phase.in_flight else "",
            _requests(record["evidence"]),
            words(record["reason"] or ", ".join(record["blocked_by"])),
        )
    return table


def release_text(record: dict[str, Any]) -> Group:
    """Everything about one release."""
    evidence = record["evidence"]
    phase = Phase(record["phase"])
    facts = [
        ("phase", f"{phase.value} since {record['since']}"),
        ("stage", _stage(record) if phase.in_flight else ""),
        ("commit", f"{record['commit'][:12]} by {record['author']}"),
        ("verdict", f"{record['verdict']}: {record['reason']}" if record["verdict"] else record["reason"]),
        ("canary", _share(evidence["canary_errors"], evidence["canary_requests"])),
        ("stable", _share(evidence["stable_errors"], evidence["stable_requests"])),
        ("evidence", f"e-value {evidence['e_value']:.3g}, aborts at {evidence['e_limit']:g}"),
        ("budget", f"{evidence['slo']} burns {evidence['burn']:.1f} times too fast" if evidence["slo"] else ""),
        ("waits for", _awaited(record, phase)),
        ("blocked by", ", ".join(record["blocked_by"])),
        ("quarantine", record["quarantine"]),
    ]
    lines = [Text.assemble((f"{name:>12}  ", "dim"), words(str(value))) for name, value in facts if value]
    title = Text.assemble((record["id"], "bold"), "  ", words(record["title"], "bold"))
    return Group(title, *lines)


def event_text(event: dict[str, Any]) -> Text:
    """One event on one line."""
    at = str(event["at"])[11:19]
    return Text.assemble(
        (f"{printable(at)}  ", "dim"), (f"{printable(event['kind']):<10} ", "bold"), f"{event['release'] or '':<6} ",
        words(event["text"]),
    )  # fmt: skip


def _stage(record: dict[str, Any]) -> str:
    return f"{record['stage']}/{record['stages']} {record['stage_text']}"


def _requests(evidence: dict[str, Any]) -> str:
    return f"{evidence['canary_requests']:,}" if evidence["canary_requests"] else ""


def _share(errors: int, requests: int) -> str:
    return f"{errors:,} of {requests:,} requests failed ({errors / requests:.2%})" if requests else ""


def _awaited(record: dict[str, Any], phase: Phase) -> str:
    """What goes on here, or who: a release that is paused waits for no clock."""
    if phase is Phase.PAUSED:
        return f"a person: `policyd releases resume {record['id']}`, `promote` or `abort`"
    return _needed(record["evidence"]) if phase is Phase.PROGRESSING else ""


def _needed(evidence: dict[str, Any]) -> str:
    parts = []
    if evidence["requests_needed"]:
        parts.append(f"{evidence['requests_needed']:,} more requests")
    if evidence["seconds_needed"] is not None:
        parts.append(f"about {evidence['seconds_needed']:.0f} s")
    return ", ".join(parts)
