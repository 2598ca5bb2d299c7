"""The guardrails on the command line: the shipped rules and the team's own, by the engine that this machine has.

They work beside the loader: rules are checked and the engine is started while the files are read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from policyd.base.clock import Clock
from policyd.base.diagnostics import Finding, has_errors, in_order
from policyd.cli import remembered
from policyd.guardrails.bundle import Bundle, shipped_bundle
from policyd.guardrails.check import check
from policyd.guardrails.choice import choose, find_opa, fingerprint
from policyd.guardrails.engine import Engine, Json
from policyd.guardrails.memory import Verdicts
from policyd.guardrails.metadata import rules
from policyd.guardrails.team import with_team_rules
from policyd.intents import FileTree, Loaded

_NOTHING: Json = {"mesh": None, "documents": {}}


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the rules said, how many there were, which engine judged, and how many documents it was asked about."""

    findings: tuple[Finding, ...]
    rules: int
    engine: str
    asked: int


@dataclass(frozen=True, slots=True)
class Guards:
    """How to judge: `vouched` are digests of team rules that may run without an OPA to check them.

    The rules of `before`, what a pull request would be merged into, judge it too: nobody takes a rule out of the way
    and breaks it in one step. `cache` says whether verdicts of earlier runs count, and are kept for later ones.
    """

    clock: Clock
    vouched: Collection[str] = ()
    before: FileTree | None = None
    cache: bool = True


class Guarding:
    """Guardrails that have begun: tell them what was `loaded`, then ask for the `result`."""

    def __init__(self, loaded: Future[Loaded], answer: Future[Guarded]) -> None:
        self._loaded = loaded
        self._answer = answer

    def loaded(self, loaded: Loaded) -> None:
        """These are the documents; they are judged while the caller goes on."""
        self._loaded.set_result(loaded)

    def result(self) -> Guarded:
        """What the rules said. Raises `Retry` or `Stalled` where the engine has no answer."""
        return self._answer.result()


@contextlib.contextmanager
def guarding(tree: FileTree, how: Guards) -> Iterator[Guarding]:
    """Begin to judge the tree, in a thread of its own; what was started is ended with the block."""
    loaded: Future[Loaded] = Future()
    with ThreadPoolExecutor(1, "guardrails") as pool:
        answer = pool.submit(lambda: asyncio.run(_guard(tree, loaded, how)))
        try:
            yield Guarding(loaded, answer)
        finally:
            loaded.cancel()  # nothing happens if they were told


async def _guard(tree: FileTree, loaded: Future[Loaded], how: Guards) -> Guarded:
    opa = find_opa()
    engine = choose("auto")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        bundle, about_rules = await with_team_rules(shipped_bundle(), tree, opa=opa, vouched=how.vouched)
        bundles = [bundle]
        if how.before is not None:
            promoted, about_promoted = await with_team_rules(
                shipped_bundle(), how.before, opa=opa, vouched=how.vouched
            )
            if not has_errors(about_promoted):  # rules that cannot run hold nobody back; these are what is mended
                bundles.insert(0, promoted)
        warming = asyncio.create_task(_warm(engine, bundles[0]))
        stack.push_async_callback(_end, warming)
        file = remembered.file_for(fingerprint(opa))
        verdicts = Verdicts(remembered.read(file) if how.cache else {})
        documents = await asyncio.wrap_future(loaded)
        findings = await check(documents, engine, how.clock.now(), bundles, verdicts)
        if how.cache and verdicts.learned:
            remembered.write(file, verdicts.known)
        judged_by = f"{engine.name} {engine.version}".strip()
        return Guarded(in_order((*about_rules, *findings)), len(rules(bundle)), judged_by, verdicts.asked)


async def _end(warming: asyncio.Task[None]) -> None:
    warming.cancel()
    await asyncio.gather(warming, return_exceptions=True)


async def _warm(engine: Engine, bundle: Bundle) -> None:
    """Let the engine start and load the rules. If it cannot, whoever really asks will hear why."""
    await engine.evaluate(bundle, _NOTHING)
