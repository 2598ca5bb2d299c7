"""What can be found out when the store was lost: what proxies run, the weights among it, and which commit that is.

    acknowledged sets on disk, versions that proxies report, their admin interfaces -> found -> words, status

Nothing here decides anything: it is shown to a person, who then says what was promoted (`recovery`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError
from policyd.compiler.artifact import Artifact
from policyd.compiler.protocol import ReadsBack
from policyd.daemon.likeness import Candidate, Likeness, Versions, likeness
from policyd.delivery.ledger import Ledger
from policyd.delivery.resource_types import ROUTE
from policyd.delivery.xds.server import XdsServer
from policyd.intents import ParseCache, load
from policyd.lowering import LoweringMemo, lower
from policyd.model.names import Name
from policyd.model.service import Split
from policyd.rollout.assembly import Assembly, CompilerOf
from policyd.source import Mirror
from policyd.telemetry.running import RunningEnvoys

COMMITS = 20
"""How far back in the history of the branch what proxies run is looked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """What proxies run. `nodes` are all that run something, `unread` those whose routes are not known."""

    nodes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    splits: Mapping[Name, Split] = field(default_factory=dict)
    """How callers split the requests for each service; the first of them, by name, where they differ."""
    differing: tuple[Name, ...] = ()
    """Services that callers do not all split alike."""
    like: Likeness | None = None


class LostStore:
    """Looks at what runs. What was found is kept for as long as that does not change."""

    def __init__(
        self,
        xds: XdsServer,
        ledger: Ledger,
        mirror: Mirror,
        envoys: RunningEnvoys,
        *,
        compiler_of: CompilerOf,
        clock: Clock,
    ) -> None:
        self._xds = xds
        self._ledger = ledger
        self._mirror = mirror
        self._envoys = envoys
        self._compiler_of = compiler_of
        self._clock = clock
        self._seen: tuple[object, ...] = ()
        self.found = Found()

    async def look(self) -> Found:
        """What runs now. Raises `Retry` where the history cannot be read; what was found before stays."""
        running = {node: self._held_by(node) for node in sorted(self._xds.holders())}
        history = await asyncio.to_thread(self._mirror.history, COMMITS)
        seen = (history, running)
        if seen != self._seen:
            self.found = await self._find(history, running)
            self._seen = seen if not self.found.unread else ()
        return self.found

    def _held_by(self, node: str) -> Versions:
        """As the proxy reports it now, else as it was acknowledged last."""
        reported = self._xds.proxy(node).reported()
        return dict(reported) or {(one.kind, one.name): one.version for one in self._recalled(node)}

    def _recalled(self, node: str) -> tuple[Artifact, ...]:
        record = self._ledger.records.get(node)
        return tuple(record.acknowledged) if record is not None and record.acknowledged is not None else ()

    async def _find(self, history: Sequence[str], running: Mapping[str, Versions]) -> Found:
        meshes = await asyncio.to_thread(self._meshes, history)
        nodes = tuple(running)
        if not meshes:
            return Found(nodes, nodes)
        compiler = self._compiler_of(meshes[0].mesh.settings.data_planes[0].compiler)
        if not isinstance(compiler, ReadsBack):
            return Found(nodes, nodes)
        routes = await self._routes(running)
        splits: dict[Name, Split] = {}
        differing: set[Name] = set()
        for node in sorted(routes):
            for service, split in compiler.splits(routes[node]).items():
                if splits.setdefault(service, split) != split:
                    differing.add(service)
        like = await asyncio.to_thread(
            likeness, meshes, running, splits, Assembly(self._compiler_of, lambda _: ()), self._clock.now()
        )
        unread = tuple(node for node in nodes if node not in routes)
        return Found(nodes, unread, dict(sorted(splits.items())), tuple(sorted(differing)), like)

    async def _routes(self, running: Mapping[str, Versions]) -> Mapping[str, Sequence[Artifact]]:
        """The routes of each node: those that are remembered where it still runs them, else as it says itself."""
        found: dict[str, Sequence[Artifact]] = {}
        for node, held in running.items():
            known = [one for one in self._recalled(node) if one.kind == ROUTE]
            wanted = {key: version for key, version in held.items() if key[0] == ROUTE}
            if known and {(one.kind, one.name): one.version for one in known}.items() >= wanted.items():
                found[node] = known
        rest = [node for node in running if node not in found]
        return {**found, **await self._envoys.routes(rest)}

    def _meshes(self, history: Sequence[str]) -> list[Candidate]:
        """The meshes of the history, without commits that say none."""
        cache, memo = ParseCache(), LoweringMemo()
        found: list[Candidate] = []
        for commit in history:
            try:
                mesh = lower(load(self._mirror.snapshot(commit), cache), memo).mesh
            except (PolicydError, ValueError):
                continue
            if mesh is not None:
                found.append(Candidate(commit, mesh))
        return found


def words(found: Found) -> str:
    """What a person is told: what is live, and what to type."""
    said = ["the store was lost: proxies keep what they run, and are sent nothing"]
    moving = [
        f"{name} {_shares(split)}" for name, split in found.splits.items() if len(split.weights) > 1 or split.first
    ]
    said += [f"live now: {', '.join(moving)}"] if moving else []
    if found.differing:
        said.append("callers differ about " + ", ".join(str(name) for name in found.differing))
    if found.unread:
        said.append(
            f"{len(found.unread)} of {len(found.nodes)} proxies could not be read, `{found.unread[0]}` among them"
        )
    return "; ".join((*said, _way_on(found.like)))


def _way_on(like: Likeness | None) -> str:
    head = "`policyd recover --promoted HEAD` serves what Git says at once"
    if like is None or not like.alike:
        return (
            "no commit of late says what they run: `policyd recover --promoted COMMIT` names the one to go on from,"
            f" {head}"
        )
    whom = "proxies run" if like.whole else f"{like.alike} of {like.of} proxies run"
    verb = f"`policyd recover --promoted {like.base[:10]}`"
    commit = f"what commit {like.commit[:10]} says"
    if not like.base:
        return f"{whom} {commit} but for those shares, which no canary of late explains; {head}"
    if like.base == like.commit:
        return f"{whom} {commit}: {verb} goes on from there, {head}"
    return (
        f"{whom} {commit} but for those shares, on the way from commit {like.base[:10]}:"
        f" {verb} begins that canary again, {head}"
    )


def _shares(split: Split) -> str:
    shares = " ".join(f"{version} {weight / 100:g} %" for version, weight in split.weights)
    return f"{shares} (first {split.first_version})" if split.first is not None else shares
