"""`policyd diff`: what a commit changes, in words and in every proxy's configuration."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from policyd.base.clock import SystemClock
from policyd.base.diagnostics import has_errors, in_order
from policyd.cli.bound import SettingsOption, bindings
from policyd.cli.compiled import TargetOption, compile_mesh, losses
from policyd.cli.differences import differences
from policyd.cli.judged import Judged, judge, under
from policyd.cli.output import console, say_json
from policyd.cli.render_diff import Review, refusal_markdown, review_json, review_markdown, review_text
from policyd.cli.render_findings import finding_json, findings_text
from policyd.cli.said import said
from policyd.compiler.memo import Memo
from policyd.guardrails.acceptances import Acceptances
from policyd.guardrails.losses import Told
from policyd.model.mesh import Mesh
from policyd.source import DirectoryTree, tree_at

WORKING_TREE = "the working tree"


class DiffFormat(enum.StrEnum):
    """What `diff` writes; `markdown` is a comment for a pull request."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def diff(
    base: Annotated[str, typer.Argument(help="The revision that is live, for example `main`.")],
    head: Annotated[
        str | None, typer.Argument(help="The revision to compare; the files as they are if left out.")
    ] = None,
    *,
    path: Annotated[Path, typer.Option("--path", help="The folder that holds the intents.")] = Path(),
    target: TargetOption = None,
    settings: SettingsOption = None,
    output: Annotated[
        DiffFormat, typer.Option("--output", "-o", help="How the answer is written.")
    ] = DiffFormat.TEXT,
) -> None:
    """Show what changes from BASE to HEAD: in plain words, then in the configuration of each proxy."""
    bound = bindings(settings)
    with tree_at(path, base) as tree:
        before = judge(tree)
    with tree_at(path, head) if head is not None else nullcontext(DirectoryTree(path)) as tree:
        after = judge(tree, bound)
    if after.lowered.mesh is None or has_errors(after.findings):
        _refuse(after, path, output)
    review = compare(before, after, path, (base, head or WORKING_TREE), target or ())
    match output:
        case DiffFormat.JSON:
            say_json(review_json(review))
        case DiffFormat.MARKDOWN:
            typer.echo(review_markdown(review))
        case DiffFormat.TEXT:
            console().print(review_text(review))
    if has_errors(review.findings):
        raise typer.Exit(1)


def compare(
    before: Judged, after: Judged, path: Path, revisions: tuple[str, str], targets: Sequence[str] = ()
) -> Review:
    """What changes between two trees that were judged. Raises `RefusedTree` where one of them has errors."""
    new, old = after.mesh(), _base_mesh(before, after.mesh())
    memo = Memo()
    compiled = compile_mesh(new, memo, targets)
    accepted = Acceptances(after.loaded.documents, SystemClock().now())
    lost = losses(compiled, Told(after.lowered.provenance, accepted))
    provenance = {**before.lowered.provenance, **after.lowered.provenance}
    return Review(
        *revisions,
        said(old, new, provenance, path),
        differences(compile_mesh(old, memo, targets), compiled),
        under(path, in_order((*after.findings, *lost))),
    )


def _base_mesh(before: Judged, new: Mesh) -> Mesh:
    """The mesh of the base; an empty one where the base has no intents yet.

    Raises `RefusedTree` where the base has intents with errors: what it meant cannot be told.
    """
    if not before.loaded.documents and not before.loaded.findings:
        return Mesh(new.settings)
    return before.mesh()


def _refuse(after: Judged, path: Path, output: DiffFormat) -> NoReturn:
    """The head has errors: there is nothing to compare, which is not the same as no difference."""
    findings = under(path, after.findings)
    if output is DiffFormat.JSON:
        say_json({"findings": [finding_json(finding) for finding in findings]})
    else:
        console().print(refusal_markdown(findings) if output is DiffFormat.MARKDOWN else findings_text(findings))
    raise typer.Exit(1)
