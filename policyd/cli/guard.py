"""The guardrails on the command line: the shipped rules and the team's own, by the engine that this machine has."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from policyd.base.clock import Clock
from policyd.base.diagnostics import Finding, has_errors, in_order
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.check import check
from policyd.guardrails.choice import choose, find_opa
from policyd.guardrails.metadata import rules
from policyd.guardrails.team import with_team_rules
from policyd.intents import FileTree, Loaded


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the rules said, how many there were, and which engine judged."""

    findings: tuple[Finding, ...]
    rules: int
    engine: str


def guard(
    tree: FileTree, loaded: Loaded, clock: Clock, vouched: Collection[str] = (), before: FileTree | None = None
) -> Guarded:
    """Judge the documents; `vouched` are digests of team rules that may run without an OPA to check them.

    The rules of `before`, what a pull request would be merged into, judge it too: nobody takes a rule out of the way
    and breaks it in one step. Raises `Retry` or `Stalled` where the engine has no answer.
    """
    return asyncio.run(_guard(tree, loaded, clock, vouched, before))


async def _guard(
    tree: FileTree, loaded: Loaded, clock: Clock, vouched: Collection[str], before: FileTree | None
) -> Guarded:
    opa = find_opa()
    bundle, about_rules = await with_team_rules(shipped_bundle(), tree, opa=opa, vouched=vouched)
    bundles = [bundle]
    if before is not None:
        promoted, about_promoted = await with_team_rules(shipped_bundle(), before, opa=opa, vouched=vouched)
        if not has_errors(about_promoted):  # rules that cannot run hold nobody back; these are what is mended
            bundles.insert(0, promoted)
    engine = choose("auto")
    try:
        findings = await check(loaded, engine, clock.now(), bundles)
        judged_by = f"{engine.name} {engine.version}".strip()
        return Guarded(in_order((*about_rules, *findings)), len(rules(bundle)), judged_by)
    finally:
        await engine.close()
