"""What one tick says about one release: whose counters are compared with whose.

- Weights move: at every caller, requests to the new version against requests to the old one.
- Waves: nodes that have the target against nodes of the same service that do not. For a service, the final outcomes
  of calls to it; for access, requests that the rules denied; for settings, all of both.

Nodes that were not connected when the stage was taken, and were not read either, do not count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.scope import Scope
from policyd.model.service import Service
from policyd.plan.change import Change, Stage, Unit, WeightStage
from policyd.rollout.content import Value, content_digest
from policyd.rollout.way import Gate, Way
from policyd.telemetry.counters import NodeTick, Outcomes, Tick
from policyd.telemetry.windows import (
    Counted,
    Stratum,
    by_version,
    by_wave,
    calls_to,
    denials,
    everything,
    service_of,
    together,
)


@dataclass(frozen=True, slots=True)
class Watch:
    """Whom to look at while a release is at one stage. `measuring` are the nodes that could tell."""

    change: Change
    stage: Stage
    measuring: frozenset[str]
    wave: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()

    def audience(self, tick: Tick | None, absent: Collection[str]) -> int:
        """How many nodes can tell: those that measure, without those that were away and stayed silent."""
        read = tick.nodes.keys() if tick is not None else ()
        return sum(node not in absent or node in read for node in self.measuring)

    def strata(self, tick: Tick | None, absent: Collection[str]) -> tuple[Stratum, ...] | None:
        """The comparison of this tick; `None` where some node could tell and none was read."""
        if not self.audience(tick, absent):
            return ()
        if tick is None or not self.measuring & tick.nodes.keys():
            return None
        if isinstance(self.stage, WeightStage):
            base, target = self.change.base, self.change.target
            if not (isinstance(base, Service) and isinstance(target, Service)):
                return ()
            return by_version(tick, self.change.name, target.serving, base.serving)
        return by_wave(tick, self.wave, self.outside, _compared(self.change))

    def gate(self, tick: Tick, gate: Gate) -> Outcomes:
        """What the target did for an SLO: its own outcomes where the SLO is the changed service's, else all."""
        if gate.service != self.change.name or self.change.unit is Unit.SETTINGS:
            return _all_calls(tick, gate.service)
        if isinstance(self.stage, WeightStage):
            strata = self.strata(tick, ()) or ()
        else:
            strata = by_wave(tick, self.wave, self.outside, calls_to(gate.service))
        return together(stratum.canary for stratum in strata)

    def gates(self, tick: Tick | None, way: Way) -> tuple[Outcomes, ...]:
        """The outcomes for each gate of the way, in its order."""
        if tick is None:
            return ()
        return tuple(self.gate(tick, gate) for gate in way.gates)


def watch(change: Change, stage: Stage, meshes: Mapping[Node, Mesh]) -> Watch:
    """Whom to look at, from the mesh that each node runs at this stage."""
    touched = _touched(change, meshes)
    if isinstance(stage, WeightStage):
        return Watch(change, stage, frozenset(node.id for node, calls in touched.items() if calls))
    wanted = content_digest(change.target)
    verdicts: dict[int, bool] = {}  # few distinct meshes are shared by many nodes
    for node in touched:
        mesh = meshes[node]
        if id(mesh) not in verdicts:
            verdicts[id(mesh)] = content_digest(value_in(mesh, change)) == wanted
    wave = frozenset(node.id for node in touched if verdicts[id(meshes[node])])
    return Watch(change, stage, wave, wave, frozenset(node.id for node in touched) - wave)


def value_in(mesh: Mesh, change: Change) -> Value:
    """What a mesh holds for the unit that a change is about."""
    match change.unit:
        case Unit.SETTINGS:
            return mesh.settings
        case Unit.SERVICE:
            return mesh.services.get(change.name)
        case Unit.ACCESS:
            return mesh.access.get(change.name)


def _touched(change: Change, meshes: Mapping[Node, Mesh]) -> dict[Node, bool]:
    """Nodes that the change can matter to, each with whether it may call the changed service."""
    touched: dict[Node, bool] = {}
    for node, mesh in meshes.items():
        calls = change.name in Scope.of(mesh).destinations(node.service)
        if calls or change.unit is Unit.SETTINGS or node.service == change.name:
            touched[node] = calls
    return touched


def _compared(change: Change) -> Counted:
    match change.unit:
        case Unit.SETTINGS:
            return everything
        case Unit.SERVICE:
            return calls_to(change.name)
        case Unit.ACCESS:
            return _denied_at(change.name)


def _denied_at(destination: Name) -> Counted:
    def counted(of: Name, seen: NodeTick) -> Outcomes:
        return denials(of, seen) if of == destination else Outcomes()

    return counted


def _all_calls(tick: Tick, service: Name) -> Outcomes:
    counted = calls_to(service)
    return together(
        counted(service_of(node), seen) for node, seen in tick.nodes.items() if service_of(node) != service
    )
