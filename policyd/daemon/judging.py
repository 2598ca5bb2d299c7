"""The guardrails as the daemon uses them: which rules judge a commit, and by which engine.

A commit is judged by the rules that were promoted before it and by its own; its own alone hold from the next one on.
So nobody can take a rule out of the way and break it in one commit.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from policyd.base.diagnostics import Finding, has_errors, in_order
from policyd.guardrails.bundle import Bundle
from policyd.guardrails.check import check
from policyd.guardrails.engine import Engine
from policyd.guardrails.memory import Verdicts
from policyd.guardrails.team import with_team_rules
from policyd.intents import FileTree, Loaded


class Guardrails:
    """The shipped rules and the repository's own, with one engine.

    `opa` checks team rules before they are loaded; `vouched` are digests of team rules that need no check.
    """

    def __init__(self, engine: Engine, shipped: Bundle, *, opa: Path | None, vouched: Collection[str]) -> None:
        self._engine = engine
        self._shipped = shipped
        self._opa = opa
        self._vouched = frozenset(vouched)
        self._promoted: Bundle | None = None
        self._verdicts = Verdicts()
        self._last: tuple[FileTree, Bundle, tuple[Finding, ...]] | None = None

    @property
    def asked(self) -> int:
        """Documents that the engine was really asked about one by one: a figure for tests and `/metrics`."""
        return self._verdicts.asked

    async def judge(self, tree: FileTree, loaded: Loaded, at: datetime) -> tuple[Finding, ...]:
        """What the rules say about a commit. Raises `Retry` or `Stalled` where the engine has no answer."""
        own, about_rules = await self._bundle(tree)
        before = self._promoted if self._promoted is not None else own
        said = await check(loaded, self._engine, at, [before, own], self._verdicts)
        return in_order((*about_rules, *said))

    async def promote(self, tree: FileTree) -> None:
        """The rules of this commit, which was taken, judge those that come after it."""
        own, about_rules = await self._bundle(tree)
        if not has_errors(about_rules):
            self._promoted = own

    async def _bundle(self, tree: FileTree) -> tuple[Bundle, tuple[Finding, ...]]:
        """The rules of a commit; judging it and promoting it check them once."""
        if self._last is None or self._last[0] is not tree:
            found = await with_team_rules(self._shipped, tree, opa=self._opa, vouched=self._vouched)
            self._last = (tree, *found)
        return self._last[1:]
