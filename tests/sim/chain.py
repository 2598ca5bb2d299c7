"""A controller's whole chain over a repository that is held in memory, and what each commit really cost it.

    files -> admission (load, lower, judge) -> driver (plan, compile) -> FakeDelivery

The caches live from commit to commit, as in the daemon. Proxies acknowledge at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from policyd.compiler import registry
from policyd.compiler.artifact import Artifact
from policyd.daemon.admission import Admission, Admitted
from policyd.daemon.judging import Guardrails
from policyd.delivery.snapshot import NodeSnapshot
from policyd.delivery.xds.secrets import svid_secret, trust_bundle_secret
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.intents import MemoryTree
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.rollout.assembly import Assembly
from policyd.rollout.driver import Driver
from policyd.rollout.store import Store
from policyd.source import Snapshot
from policyd.testing.clock import FakeClock
from policyd.testing.delivery import FakeDelivery
from policyd.testing.metrics import FakeMetrics
from policyd.testing.trust import FakeTrust

SECRETS = (svid_secret(b"chain", b"key"), trust_bundle_secret(b"root"))


@dataclass(frozen=True)
class Cost:
    """What one commit really took, and whom it touched."""

    parsed: int
    """Files."""
    judged: int
    """Documents that the rules were asked about."""
    lowered: int
    """Values of the model that were made out of documents."""
    compiled: int
    """Resources."""
    moved: frozenset[str]
    """Services and the access to services, as `service a`, `access a`, that are another object than before."""
    nodes: frozenset[str]
    """Proxies that were sent something."""
    pushed: tuple[str, ...]
    """Resources that went to a proxy because it did not have them, as `node name`; sorted."""
    withdrawn: tuple[str, ...]
    """Resources that a proxy had to drop, likewise."""
    asked: int = 0
    """Services with their rules that compilers were asked about, whether something of them is lost."""


class Chain:
    """One controller. `commit` is called with all files of the repository."""

    def __init__(self, store: Store, engine: EmbeddedEngine, vouched: Collection[str] = ()) -> None:
        self._clock = FakeClock()
        self._judge = Guardrails(engine, shipped_bundle(), opa=None, vouched=vouched)
        self._admission = Admission(self._judge, self._clock)
        self._assembly = Assembly(registry.load, lambda service: SECRETS)
        self.delivery = FakeDelivery()
        self.driver = Driver(
            store=store,
            clock=self._clock,
            assembly=self._assembly,
            delivery=self.delivery,
            metrics=FakeMetrics(self._clock),
            trust=FakeTrust(),
        )
        self._commits = 0
        self._mesh: Mesh | None = None

    async def commit(self, files: Mapping[str, str]) -> Cost:
        """Take a commit that passes every check, until every proxy has it and nothing is under way."""
        self._commits += 1
        tree = MemoryTree(files)
        snapshot = Snapshot(f"{self._commits:040}", None, "ada", tree.files, tree.read)
        counted, barriers = self._counted(), len(self.delivery.barriers)
        had: dict[str, NodeSnapshot] = dict(self.delivery.live)
        outcome = await self._admission.consider(snapshot)
        assert isinstance(outcome, Admitted), outcome.findings[:3]
        await self.driver.accept(snapshot.commit, outcome.mesh)
        await self.driver.tick()
        while not self.driver.status().settled:
            self._clock.advance(1.0)
            await self.driver.tick()
        pushed, withdrawn = _sent(had, self.delivery.barriers[barriers:])
        parsed, judged, lowered, built, asked = (
            after - before for after, before in zip(self._counted(), counted, strict=True)
        )
        moved = _moved(self._mesh, outcome.mesh)
        self._mesh = outcome.mesh
        nodes = frozenset(node for barrier in self.delivery.barriers[barriers:] for node in barrier)
        return Cost(parsed, judged, lowered, built, moved, nodes, pushed, withdrawn, asked)

    def _counted(self) -> tuple[int, int, int, int, int]:
        admission = self._admission
        return (
            admission.parsed_files,
            self._judge.asked,
            admission.lowered_values,
            self._assembly.compiled,
            admission.asked_of_compilers,
        )


@contextlib.asynccontextmanager
async def running(folder: Path, vouched: Collection[str] = ()) -> AsyncIterator[Chain]:
    """A chain with a store in `folder`."""
    store, engine = Store(folder / "policyd.sqlite"), EmbeddedEngine()
    try:
        yield Chain(store, engine, vouched)
    finally:
        store.close()
        await engine.close()


def _moved(before: Mesh | None, after: Mesh) -> frozenset[str]:
    if before is None:
        return frozenset()
    pairs = (("service", before.services, after.services), ("access", before.access, after.access))
    return frozenset(f"{what} {name.name}" for what, old, new in pairs for name in _differing(old, new))


def _differing(old: Mapping[Name, object], new: Mapping[Name, object]) -> set[Name]:
    return {name for name in old.keys() | new.keys() if old.get(name) is not new.get(name)}


def _sent(
    had: dict[str, NodeSnapshot], barriers: list[dict[str, NodeSnapshot]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a server that sends only what differs puts on the wire, barrier by barrier."""
    pushed: list[str] = []
    withdrawn: list[str] = []
    for barrier in barriers:
        for node, snapshot in barrier.items():
            known, now = _named(had.get(node, ())), _named(snapshot)
            pushed += [
                f"{node} {name}" for (kind, name), version in now.items() if known.get((kind, name)) != version
            ]
            withdrawn += [f"{node} {name}" for _, name in known.keys() - now.keys()]
            had[node] = snapshot
    return tuple(sorted(pushed)), tuple(sorted(withdrawn))


def _named(artifacts: NodeSnapshot | tuple[Artifact, ...]) -> dict[tuple[str, str], str]:
    return {(artifact.kind, artifact.name): artifact.version for artifact in artifacts}
