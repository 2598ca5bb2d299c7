"""One tree of intents, judged: what `check`, `compile`, `diff` and `explain` all begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from policyd.base.diagnostics import Finding, Location, has_errors, in_order
from policyd.base.errors import PolicydError
from policyd.decisions.expectations import Expectations, failures
from policyd.intents import Bindings, Loaded, load
from policyd.lowering import Lowered, lower
from policyd.model.mesh import Mesh
from policyd.plan.floor import without_own_cuts
from policyd.source import DirectoryTree, Snapshot


@dataclass(frozen=True, slots=True)
class Judged:
    """What a tree says: its documents, the mesh they make (if they make one), and every finding so far."""

    loaded: Loaded
    lowered: Lowered
    findings: tuple[Finding, ...]
    files: int

    def mesh(self) -> Mesh:
        """The mesh. Raises `RefusedTree` where errors stand in its way."""
        if self.lowered.mesh is None or has_errors(self.findings):
            raise RefusedTree(self.findings)
        return self.lowered.mesh


class RefusedTree(PolicydError):
    """A verb needs a sound mesh and the intents have errors."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.is_error]
        first = errors[0] if errors else findings[0]
        super().__init__(
            f"the intents have {len(errors)} error{'s' if len(errors) != 1 else ''}; the first: "
            f"{first.location}: {first.code}: {first.message}",
            hint="`policyd check` shows them all",
        )


def judge(tree: DirectoryTree | Snapshot, bindings: Bindings | None = None) -> Judged:
    """Load and lower a tree; `bindings` say which folders may speak for which namespace."""
    return judge_loaded(tree, load(tree), bindings)


def judge_loaded(tree: DirectoryTree | Snapshot, loaded: Loaded, bindings: Bindings | None = None) -> Judged:
    """Lower what was loaded of a tree."""
    lowered = lower(loaded)
    bound = (bindings or Bindings()).findings(loaded.documents)
    findings = in_order((*tree.findings, *lowered.findings, *bound))
    return Judged(loaded, lowered, findings, len(tree.files))


def unmet_expectations(loaded: Loaded, mesh: Mesh, at: datetime) -> tuple[Finding, ...]:
    """What the tree's own `PolicyTest` documents expect of its rules, and does not hold."""
    return failures(Expectations().judge(loaded.documents, without_own_cuts(mesh), at))


def under(folder: Path, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings with paths as a person in the current directory would type them."""
    if str(folder) == ".":
        return tuple(findings)
    return tuple(
        replace(
            finding,
            location=Location(
                (folder / finding.location.path).as_posix(), finding.location.line, finding.location.column
            ),
        )
        for finding in findings
    )
