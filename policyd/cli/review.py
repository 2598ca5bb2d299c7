"""`policyd review`: all that a reviewer needs to know of a pull request, where GitHub shows it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from policyd.base.clock import SystemClock
from policyd.base.diagnostics import Severity, has_errors
from policyd.base.errors import PolicydError
from policyd.cli.annotations import notice, say_annotations
from policyd.cli.bound import SettingsOption, bindings
from policyd.cli.check import FINDINGS, Report, look
from policyd.cli.diff import compare
from policyd.cli.guard import Guards
from policyd.cli.judged import RefusedTree, judge
from policyd.cli.output import console
from policyd.cli.pull_request import Job, NotAllowed
from policyd.cli.render_diff import Review, refusal_markdown, review_markdown, review_text
from policyd.cli.render_findings import findings_text
from policyd.source import Snapshot, first_parent, tree_at


def review(
    base: Annotated[
        str | None, typer.Argument(help="The revision that is live; what HEAD was put on top of, if left out.")
    ] = None,
    *,
    path: Annotated[Path, typer.Option("--path", help="The folder that holds the intents.")] = Path(),
    settings: SettingsOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as findings, too.")] = False,
    vouch: Annotated[
        list[str] | None, typer.Option("--vouch", help="Digest of team rules that need no OPA to check them.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Whether verdicts of earlier runs count, and are kept.")
    ] = True,
) -> None:
    """Check and compare at once: findings, and in words what traffic a change opens, closes and moves.

    In a job of GitHub's it annotates lines, writes the summary, and keeps one comment of the pull request up to date
    (with GITHUB_TOKEN). The rules of BASE judge too. Nothing that the intents contain is run.
    """
    job = Job.of(os.environ)
    with ExitStack() as stack:
        revision = base if base is not None else first_parent(path)
        before = stack.enter_context(tree_at(path, revision)) if revision is not None else None
        how = Guards(SystemClock(), vouch or (), before, cache=cache)
        report = look(path, how, bound=bindings(settings))
        shown = replace(report, findings=tuple(one for one in report.findings if one.severity > Severity.INFO))
        found = _compared(before, shown, path, _title(base, job))
    bad = has_errors(shown.findings) or (strict and bool(shown.findings))
    if job is None:
        _say(shown, found)
    else:
        _publish(job, shown, found, str(path))
    if bad:
        raise typer.Exit(FINDINGS)


def _title(base: str | None, job: Job | None) -> str:
    branch = os.environ.get("GITHUB_BASE_REF", "") if job is not None else ""
    return base or branch or "the commit before"


def _compared(before: Snapshot | None, report: Report, path: Path, title: str) -> Review | str:
    """The comparison, with all findings; or why there is none."""
    if before is None:
        return "the first commit: there is nothing to compare with"
    if has_errors(report.findings):
        return "this would be refused"
    try:
        found = compare(judge(before), report.judged, path, (title, "this change"))
    except RefusedTree as error:
        return f"{title} has errors, so that nothing can be said about the difference ({error})"
    return replace(found, findings=report.findings)


def _say(report: Report, found: Review | str) -> None:
    out = console()
    if isinstance(found, Review):
        out.print(review_text(found))
        return
    if report.findings:
        out.print(findings_text(report.findings))
        out.print()
    out.print(found, markup=False)


def _publish(job: Job, report: Report, found: Review | str, about: str) -> None:
    say_annotations(report.findings)
    markdown = _markdown(report, found)
    job.summarise(markdown)
    changes = len(found.said) if isinstance(found, Review) else 0
    job.put_out(
        errors=sum(one.severity is Severity.ERROR for one in report.findings),
        warnings=sum(one.severity is Severity.WARNING for one in report.findings),
        changes=changes,
    )
    if not job.number:
        return
    if not job.token:
        typer.echo(notice("no comment without GITHUB_TOKEN; the job's summary says it all"))
        return
    try:
        worth_it = bool(changes or report.findings or isinstance(found, str))
        job.comment(markdown, "" if about == "." else about, worth_it=worth_it)
    except NotAllowed as error:
        typer.echo(notice(f"{error}: a pull request from a fork may not be commented on; see the job's summary"))
    except PolicydError as error:
        typer.echo(notice(f"no comment: {error}; the job's summary says it all"))


def _markdown(report: Report, found: Review | str) -> str:
    if isinstance(found, Review):
        return review_markdown(found)
    if has_errors(report.findings):
        return refusal_markdown(report.findings)
    return f"### policyd: {found}"
