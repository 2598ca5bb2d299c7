"""`policyd check`: every mistake in a folder of intents, at once."""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from policyd.base.clock import SystemClock
from policyd.base.diagnostics import Finding, Severity, has_errors, in_order
from policyd.cli.annotations import say_annotations
from policyd.cli.bound import SettingsOption, bindings
from policyd.cli.compiled import TargetOption, compile_mesh, planes
from policyd.cli.guard import Guarded, Guards, guarding
from policyd.cli.judged import Judged, judge_loaded, under, unmet_expectations
from policyd.cli.output import console, say_json
from policyd.cli.render_findings import count_text, finding_json, findings_text
from policyd.compiler.memo import Memo
from policyd.guardrails.acceptances import Acceptances
from policyd.guardrails.losses import Told, foreseen
from policyd.intents import Bindings, load
from policyd.model.mesh import Mesh
from policyd.model.node import nodes
from policyd.source import DirectoryTree

FINDINGS = 1


class CheckFormat(enum.StrEnum):
    """What `check` writes; `github` is annotations on the lines of a pull request."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


_MARK = {
    Severity.ERROR: ("bold red", "✗"),
    Severity.WARNING: ("bold yellow", "!"),
    Severity.INFO: ("bold green", "✓"),
}


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found and how it looked."""

    judged: Judged
    guarded: Guarded
    nodes: int
    findings: tuple[Finding, ...]
    seconds: float
    asked_proxies: bool


def check(
    path: Annotated[Path, typer.Argument(help="The folder that holds the intents.")] = Path(),
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Also ask the real proxy about every compiled node.")] = False,
    target: TargetOption = None,
    settings: SettingsOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as findings, too.")] = False,
    vouch: Annotated[
        list[str] | None, typer.Option("--vouch", help="Digest of team rules that need no OPA to check them.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Whether verdicts of earlier runs count, and are kept.")
    ] = True,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also notes, exceptions and what was done.")
    ] = False,
    output: Annotated[
        CheckFormat, typer.Option("--output", "-o", help="How the answer is written.")
    ] = CheckFormat.TEXT,
) -> None:
    """Find every mistake in the intents: form, references, guardrails, failing tests, what a proxy could not say."""
    how = Guards(SystemClock(), vouch or (), cache=cache)
    report = look(path, how, deep=deep, targets=target or (), bound=bindings(settings))
    shown = [finding for finding in report.findings if verbose or finding.severity > Severity.INFO]
    bad = has_errors(shown) or (strict and any(finding.severity is Severity.WARNING for finding in shown))
    match output:
        case CheckFormat.JSON:
            say_json(_json(report, shown, ok=not bad))
        case CheckFormat.GITHUB:
            say_annotations(shown)
        case CheckFormat.TEXT:
            _say(report, shown, verbose=verbose)
    if bad:
        raise typer.Exit(FINDINGS)


def look(
    path: Path, how: Guards, *, deep: bool = False, targets: Sequence[str] = (), bound: Bindings | None = None
) -> Report:
    """Judge a folder by all stages. Raises what the engines raise."""
    began = time.perf_counter()
    tree = DirectoryTree(path)
    with guarding(tree, how) as guards:
        loaded = load(tree)
        guards.loaded(loaded)
        judged = judge_loaded(tree, loaded, bound)
        mesh, provenance = judged.lowered.mesh, judged.lowered.provenance
        told = Told(provenance, Acceptances(loaded.documents, how.clock.now()))
        lost = _lost(mesh, told, targets) if mesh is not None else ()
        unmet = unmet_expectations(loaded, mesh, how.clock.now()) if mesh is not None else ()
        guarded = guards.result()
    findings = [*judged.findings, *guarded.findings, *lost, *unmet]
    compiled = compile_mesh(mesh, targets=targets) if deep and mesh is not None and not has_errors(findings) else ()
    if compiled:
        # What it takes to ask proxies takes time to import, and most checks ask none.
        from policyd.cli.deep import deep as ask_proxies  # noqa: PLC0415

        findings += ask_proxies(compiled, provenance)
    count = len(tuple(nodes(mesh))) * len(planes(mesh, targets)) if mesh is not None else 0
    in_place = under(path, in_order(findings))
    return Report(judged, guarded, count, in_place, time.perf_counter() - began, bool(compiled))


def _lost(mesh: Mesh, told: Told, targets: Sequence[str]) -> tuple[Finding, ...]:
    """What gets lost, and of what is accepted that it holds, or (for the mesh's own planes alone) is not needed."""
    lost = told.findings(foreseen(mesh, planes(mesh, targets), Memo()))
    return (*lost, *[note for note in told.accepted.notes() if note.severity is Severity.INFO or not targets])


def _say(report: Report, shown: Sequence[Finding], *, verbose: bool) -> None:
    out = console()
    if shown:
        out.print(findings_text(shown))
        out.print()
    counted = count_text(shown)
    worst = max((finding.severity for finding in shown), default=Severity.INFO)
    style, mark = _MARK[worst]
    out.print(Text.assemble((f"{mark} {counted or 'nothing wrong'}", style), "  ", (_scale(report), "dim")))
    if verbose:
        out.print(Text(_done(report), style="dim"))


def _scale(report: Report) -> str:
    documents = len(report.judged.loaded.documents)
    return f"{documents} documents in {report.judged.files} files, {report.guarded.rules} rules"


def _done(report: Report) -> str:
    proxies = f"{report.nodes} proxies{' asked' if report.asked_proxies else ''}"
    new = f"{report.guarded.asked} documents new to it"
    return f"  judged by the {report.guarded.engine} engine, {new}, {proxies}, {report.seconds * 1000:.0f} ms"


def _json(report: Report, shown: Sequence[Finding], *, ok: bool) -> dict[str, object]:
    return {
        "ok": ok,
        "findings": [finding_json(finding) for finding in shown],
        "files": report.judged.files,
        "documents": len(report.judged.loaded.documents),
        "rules": report.guarded.rules,
        "engine": report.guarded.engine,
        "asked": report.guarded.asked,
        "nodes": report.nodes,
        "asked_proxies": report.asked_proxies,
        "seconds": round(report.seconds, 3),
    }
