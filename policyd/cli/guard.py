"""The guardrails on the command line: the shipped rules and the team's own, by the engine that this machine has."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from policyd.base.clock import Clock
from policyd.base.diagnostics import Finding, in_order
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


def guard(tree: FileTree, loaded: Loaded, clock: Clock, vouched: Collection[str] = ()) -> Guarded:
    """Judge the documents; `vouched` are digests of team rules that may run without an OPA to check them.

    Raises `Retry` or `Stalled` where the engine has no answer.
    """
    return asyncio.run(_guard(tree, loaded, clock, vouched))


async def _guard(tree: FileTree, loaded: Loaded, clock: Clock, vouched: Collection[str]) -> Guarded:
    bundle, about_rules = await with_team_rules(shipped_bundle(), tree, opa=find_opa(), vouched=vouched)
    engine = choose("auto")
    try:
        findings = await check(loaded, engine, clock.now(), [bundle])
        judged_by = f"{engine.name} {engine.version}".strip()
        return Guarded(in_order((*about_rules, *findings)), len(rules(bundle)), judged_by)
    finally:
        await engine.close()
