"""The guardrails as the daemon uses them: which rules judge a commit, and by which engine.

A commit is judged by the rules that were promoted before it and by its own; its own alone hold from the next one on.
"""

from __future__ import annotations

from datetime import datetime

from policyd.base.diagnostics import Finding
from policyd.guardrails.bundle import Bundle
from policyd.guardrails.check import check
from policyd.guardrails.engine import Engine
from policyd.intents import Loaded
from policyd.source import Snapshot


class Guardrails:
    """The shipped rules, with one engine."""

    def __init__(self, engine: Engine, shipped: Bundle) -> None:
        self._engine = engine
        self._shipped = shipped

    async def judge(self, snapshot: Snapshot, loaded: Loaded, at: datetime) -> tuple[Finding, ...]:
        """What the rules say about a commit."""
        return await check(loaded, self._engine, at, [self._shipped])
