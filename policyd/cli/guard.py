"""The guardrails on the command line: the shipped rules, judged by the engine that this machine has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from policyd.base.clock import Clock
from policyd.base.diagnostics import Finding
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.check import check
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.metadata import rules
from policyd.intents import Loaded


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the rules said, how many there were, and which engine judged."""

    findings: tuple[Finding, ...]
    rules: int
    engine: str


def guard(loaded: Loaded, clock: Clock) -> Guarded:
    """Judge the documents. Raises `Retry` or `Stalled` where the engine has no answer."""
    return asyncio.run(_guard(loaded, clock))


async def _guard(loaded: Loaded, clock: Clock) -> Guarded:
    bundle = shipped_bundle()
    engine = EmbeddedEngine()
    try:
        findings = await check(loaded, engine, clock.now(), [bundle])
        return Guarded(findings, len(rules(bundle)), f"{engine.name} {engine.version}".strip())
    finally:
        await engine.close()
