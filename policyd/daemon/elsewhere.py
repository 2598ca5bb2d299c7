"""What a question may be put to beside the promoted mesh: the head, a commit of Git, what one proxy runs.

    ?at=head | COMMIT | node:ID -> Elsewhere.find -> Standing

A commit is read and lowered, and nothing else: it is neither judged nor promoted by being asked about.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from policyd.api.control import Differing
from policyd.base.errors import Retry, UsageError
from policyd.intents import load
from policyd.intents.translate import nearest
from policyd.lowering import lower
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.model.service import Protocol as Spoken
from policyd.plan.effective import Effective
from policyd.source import Snapshot

NODE = "node:"
COMMITS = 4
"""Commits that are kept for the next question."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class Standing:
    """A mesh to put questions to: what it is called, and where Git says it."""

    name: str
    mesh: Mesh
    commit: str
    provenance: Mapping[Key, Provenance]


@dataclass(frozen=True, slots=True)
class Running:
    """A connected proxy and the mesh that it was given last; `in_sync` once it has acknowledged it."""

    mesh: Mesh
    in_sync: bool


class Deliveries(Protocol):
    """What is known of proxies; `delivery.xds.XdsServer` in production."""

    def connected(self) -> Collection[str]:
        """Ids of the nodes that are connected now."""

    def in_sync(self, node_id: str) -> bool:
        """Whether a node has acknowledged what it was given last."""


class Fleet:
    """What each proxy runs."""

    def __init__(self, serving: Callable[[], Effective | None], deliveries: Deliveries) -> None:
        self._serving = serving
        self._deliveries = deliveries

    def connected(self, service: Name) -> Iterator[Running]:
        """The connected proxies of a service."""
        effective = self._serving()
        there = self._deliveries.connected()
        for node in effective.nodes() if effective is not None else ():
            if effective is not None and node.service == service and node.id in there:
                yield Running(effective.mesh_for(node), self._deliveries.in_sync(node.id))

    def differing(self, promoted: Mesh) -> dict[str, Differing]:
        """The services of which a connected proxy has other access rules than `promoted`, or nobody can tell."""
        effective, there = self._serving(), self._deliveries.connected()
        counts: dict[Name, list[int]] = {}
        for node in effective.nodes() if effective is not None else ():
            if effective is not None and node.id in there:
                mesh = effective.mesh_for(node)
                same = mesh is promoted or _rules(mesh, node.service) == _rules(promoted, node.service)
                count = counts.setdefault(node.service, [0, 0])
                count[0] += not (same and self._deliveries.in_sync(node.id))
                count[1] += 1
        return {str(name): Differing(*count) for name, count in sorted(counts.items()) if count[0]}

    def mesh_of(self, node_id: str) -> Running:
        """What a proxy was given. Raises `UsageError` for one that the mesh does not have."""
        effective = self._serving()
        known = {node.id: node for node in effective.nodes()} if effective is not None else {}
        if effective is None or node_id not in known:
            hint = nearest(node_id, list(known)) or "`policyd status` shows the proxies of the mesh"
            raise UsageError(f"there is no node `{node_id}`", hint=hint)
        return Running(effective.mesh_for(known[node_id]), self._deliveries.in_sync(node_id))


def _rules(mesh: Mesh, service: Name) -> object:
    """Everything that decides who may call a service, by content; `None` where there is no such service."""
    if service not in mesh.services:
        return None
    said = mesh.services[service]
    issuers = {issuer.name: issuer.url for issuer in mesh.settings.issuers}
    return mesh.access[service].digest, said.protocol is Spoken.TCP, said.opaque_paths, said.port, issuers


class Repository(Protocol):
    """Where commits are read; `source.Mirror` in production. Both raise `Retry` where it does not answer."""

    def resolve(self, commit: str) -> str:
        """The whole id of a commit, from how it begins. Raises `UsageError` for none."""

    def snapshot(self, commit: str) -> Snapshot:
        """The watched folder at a commit."""


class Commits:
    """Commits of Git as meshes; those that were asked about last are kept."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._kept: OrderedDict[str, Standing] = OrderedDict()
        self._reading = asyncio.Lock()

    async def read(self, text: str) -> Standing:
        """The mesh of a commit. Raises `UsageError` where there is none of that id, or it has errors."""
        async with self._reading:
            commit = await asyncio.to_thread(self._repository.resolve, text)
            if commit not in self._kept:
                self._kept[commit] = await asyncio.to_thread(self._lowered, commit)
                if len(self._kept) > COMMITS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(commit)
            return self._kept[commit]

    def _lowered(self, commit: str) -> Standing:
        lowered = lower(load(self._repository.snapshot(commit)))
        if lowered.mesh is None:
            first = next(finding for finding in lowered.findings if finding.is_error)
            raise UsageError(
                f"commit `{commit[:12]}` has errors and makes no mesh; the first: "
                f"{first.location}: {first.code}: {first.message}",
                hint="ask about a commit that was taken",
            )
        return Standing(commit, lowered.mesh, commit, lowered.provenance)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Finds what `at` names."""

    head: Callable[[], Standing | None]
    commits: Commits
    fleet: Fleet

    async def find(self, at: str, promoted: Standing) -> Standing:
        """What is named. Raises `UsageError` where that is nothing, `Retry` where it cannot be read now."""
        if at == "head":
            found = self.head()
            if found is None:
                raise Retry("no commit has been taken since the controller started", after=1.0)
            return found
        if at.startswith(NODE):
            running = self.fleet.mesh_of(at.removeprefix(NODE))
            name = at if running.in_sync else f"{at} (which has not acknowledged it)"
            return replace(promoted, name=name, mesh=running.mesh)
        if _COMMIT.fullmatch(at):
            return await self.commits.read(at)
        raise UsageError(
            f"`{at}` names nothing to ask about",
            hint="`promoted`, `head`, a commit (7 hex digits at least) or `node:NAMESPACE/SERVICE/VERSION/ADDRESS`",
        )
