"""Incremental equals full, byte for byte, whatever people commit: every cache against a recompute from nothing.

One chain lives from commit to commit (an admission with its caches, one assembly), another is made anew for each.
After every commit findings, mesh, changes and what each node gets are compared, with changes at any stage of their
way. `--sim-histories 2000` draws more of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policyd.base.content import digest
from policyd.base.diagnostics import Finding
from policyd.compiler import registry
from policyd.compiler.artifact import Artifact
from policyd.daemon.admission import Admission, Admitted, Rejected
from policyd.daemon.judging import Guardrails
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.intents import MemoryTree
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.plan.change import Change, Position
from policyd.plan.changes import advance, changes
from policyd.plan.effective import Effective, effective
from policyd.plan.floor import Floor
from policyd.plan.stages import stages
from policyd.plan.steps import steps
from policyd.rollout.assembly import Assembly
from policyd.source import Snapshot
from policyd.testing.clock import FakeClock
from tests.sim.anew import anew
from tests.sim.chain import SECRETS
from tests.sim.drafts import Draft, Edit, apply, edits

AT = datetime(2026, 6, 1, tzinfo=UTC)
Given = Mapping[str, tuple[str, Mapping[tuple[str, str], bytes]]]
"""What each node gets: node id -> the digest of its snapshot, and kind and name -> bytes."""


@dataclass(frozen=True)
class Step:
    """What happens before one commit: people go back, mend what was refused, and edit."""

    edits: Sequence[Edit]
    back: int
    """How many commits a revert goes back; 0 for none."""
    mend: bool
    """Whether a refused commit is taken back first."""
    stages: Sequence[int]
    """How far each change has come when the next commit arrives: -1 not begun, 9 promoted."""


histories = st.lists(
    st.builds(
        Step,
        st.lists(edits, min_size=1, max_size=3),
        st.sampled_from([0, 0, 0, 0, 1, 2, 5]),
        st.sampled_from([True, True, True, False]),
        st.lists(st.sampled_from([0, 1, 2, -1, 9]), min_size=1, max_size=6),
    ),
    min_size=4,
    max_size=12,
)


@pytest.fixture
def engine() -> EmbeddedEngine:
    return EmbeddedEngine()


def test_incremental_equals_full(pytestconfig: pytest.Config, engine: EmbeddedEngine) -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=pytestconfig.getoption("--sim-histories"),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(histories)
    def walk(history: list[Step]) -> None:
        chain = Chain(runner, engine, seen)
        chain.commit(())
        for step in history:
            chain.step(step)

    with asyncio.Runner() as runner:
        try:
            walk()
        finally:
            runner.run(engine.close())
    # Not vacuous: most commits pass the checks, many bring changes, and some of these are under way for a while.
    assert seen["taken"] > seen["commits"] / 2, seen
    assert seen["refused"] > seen["commits"] / 20, seen
    assert seen["changes"] > seen["taken"] / 4, seen
    assert seen["under way"] > seen["changes"] / 10, seen
    assert seen["barriers"] > seen["taken"] / 4, seen


class Chain:
    """A repository under edit, and a controller's chain that remembers."""

    def __init__(self, runner: asyncio.Runner, engine: EmbeddedEngine, seen: Counter[str]) -> None:
        self._runner = runner
        self._engine = engine
        self._seen = seen
        self._admission = self._new_admission()
        self._assembly = Assembly(registry.load, _secrets)
        self._draft = Draft.first()
        self._past: list[Draft] = []
        self._sound = deepcopy(self._draft)
        self._promoted: Mesh | None = None
        self._running: Effective | None = None

    def step(self, step: Step) -> None:
        """Edit, and commit."""
        if step.mend:
            self._draft = deepcopy(self._sound)
        if step.back:
            self._draft = deepcopy(self._past[-min(step.back, len(self._past))])
        else:
            for one in step.edits:
                apply(self._draft, one)
        self.commit(step.stages)

    def commit(self, reached: Sequence[int]) -> None:
        """Let both chains have the working files, and compare all that comes of them."""
        self._past.append(deepcopy(self._draft))
        tree = MemoryTree(self._draft.render())
        snapshot = Snapshot(f"{len(self._past):040}", None, "ada", tree.files, tree.read)
        incremental = self._runner.run(self._admission.consider(snapshot))
        full = self._runner.run(self._new_admission().consider(snapshot))
        self._seen["commits"] += 1
        assert _said(incremental.findings) == _said(full.findings)
        if isinstance(incremental, Rejected) or isinstance(full, Rejected):
            assert type(incremental) is type(full)
            self._seen["refused"] += 1
            return
        self._seen["taken"] += 1
        self._sound = deepcopy(self._draft)
        _same_mesh(incremental, full)
        self._same_configuration(incremental.mesh, full.mesh, reached)

    def _new_admission(self) -> Admission:
        return Admission(Guardrails(self._engine, shipped_bundle(), opa=None, vouched=()), FakeClock(AT))

    def _same_configuration(self, head: Mesh, full_head: Mesh, reached: Sequence[int]) -> None:
        promoted = self._promoted if self._promoted is not None else head
        full_promoted = anew(promoted)
        found, full_found = changes(promoted, head), changes(full_promoted, full_head)
        assert [change.id for change in found] == [change.id for change in full_found]
        for change, full_change in zip(found, full_found, strict=True):
            if not stages(change, head.releases):  # without a way, it is promoted at once
                promoted, full_promoted = advance(promoted, change), advance(full_promoted, full_change)
        positions, full_positions = _positions(found, head, reached), _positions(full_found, full_head, reached)
        wanted = effective(promoted, positions, head, Floor(AT))
        full_wanted = effective(full_promoted, full_positions, full_head, Floor(AT))
        for barrier in steps(self._running, wanted) if self._running is not None else ():
            self._seen["barriers"] += 1
            assert _given(self._assembly, barrier) == _from_nothing(anew(barrier))
        assert _given(self._assembly, wanted) == _from_nothing(full_wanted)
        self._seen["changes"] += len(found)
        self._running = wanted
        for position in positions:
            if position.stage == stages(position.change, head.releases)[-1]:
                promoted = advance(promoted, position.change)
            elif position.stage is not None:
                self._seen["under way"] += 1
        self._promoted = promoted


def _positions(found: Sequence[Change], head: Mesh, reached: Sequence[int]) -> list[Position]:
    positions: list[Position] = []
    for number, change in enumerate(found):
        way = stages(change, head.releases)
        drawn = reached[number % len(reached)] if reached else len(way)
        if way:
            positions.append(Position(change, way[min(drawn, len(way) - 1)] if drawn >= 0 else None))
    return positions


def _said(findings: tuple[Finding, ...]) -> list[str]:
    """Findings with all that they say, in order."""
    return [repr(finding) for finding in findings]


def _same_mesh(incremental: Admitted, full: Admitted) -> None:
    assert incremental.mesh == full.mesh
    assert incremental.provenance == full.provenance
    assert list(incremental.mesh.services) == list(full.mesh.services)
    assert list(incremental.mesh.access) == list(full.mesh.access)
    for name, service in full.mesh.services.items():
        assert incremental.mesh.services[name].digest == service.digest
        assert incremental.mesh.access[name].digest == full.mesh.access[name].digest
    assert digest(anew(incremental.mesh.settings)) == digest(full.mesh.settings)


def _secrets(service: Name) -> tuple[Artifact, ...]:
    return SECRETS


def _from_nothing(wanted: Effective) -> Given:
    return _given(Assembly(registry.load, _secrets), wanted)


def _given(assembly: Assembly, wanted: Effective) -> Given:
    snapshots = assembly.snapshots(wanted.nodes(), wanted.mesh_for)
    for snapshot in snapshots.values():
        assert assembly.faults(snapshot) == ()
    return {
        node: (snapshot.digest, {(artifact.kind, artifact.name): artifact.body for artifact in snapshot})
        for node, snapshot in snapshots.items()
    }
