"""What one tick says about one release: whose counters are compared with whose.

- Weights move: at every caller, requests to the new version against requests to the old one.
- Waves: nodes that have the target against nodes of the same service that do not. For a service, the final outcomes
  of calls to it; for access, requests that the rules denied; for settings, all of both.

Where some node could tell and none was read there is no comparison at all: silence is not good news.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.service import WHOLE, Service
from policyd.plan.change import Change, Stage, Unit, WeightStage
from policyd.plan.membership import members, touched
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

    @property
    def nodes(self) -> frozenset[str]:
        """All whose counters are read for the comparison."""
        return self.measuring | self.wave | self.outside

    @property
    def reached(self) -> frozenset[str]:
        """The nodes that have got something of the change at this stage."""
        return self.wave or self.measuring

    def looks_everywhere(self, way: Way) -> bool:
        """Whether some gate counts what any node of the mesh did."""
        return any(self._is_elsewhere(gate) for gate in way.gates)

    def strata(self, tick: Tick | None) -> tuple[Stratum, ...] | None:
        """The comparison of this tick; `None` where some node could tell and none was read."""
        if not self.measuring:
            return ()
        if tick is None or not self.measuring & tick.nodes.keys():
            return None
        if isinstance(self.stage, WeightStage):
            base, target = self.change.base, self.change.target
            if not (isinstance(base, Service) and isinstance(target, Service)):
                return ()
            return by_version(tick, self.change.name, target.serving, base.serving)
        return by_wave(tick, self.wave, self.outside, _compared(self.change))

    def silent(self, tick: Tick | None) -> tuple[str, ...]:
        """The nodes that could tell and were not read in this tick, sorted."""
        return tuple(sorted(self.measuring - (tick.nodes.keys() if tick is not None else frozenset())))

    def gate(self, tick: Tick, gate: Gate) -> Outcomes:
        """What the target did for an SLO: its own outcomes where the SLO is the changed service's, else all."""
        if self._is_elsewhere(gate):
            return _all_calls(tick, gate.service)
        if isinstance(self.stage, WeightStage):
            strata = self.strata(tick) or ()
        else:
            strata = by_wave(tick, self.wave, self.outside, calls_to(gate.service))
        return together(stratum.canary for stratum in strata)

    def _is_elsewhere(self, gate: Gate) -> bool:
        return gate.service != self.change.name or self.change.unit is Unit.SETTINGS

    def gates(self, tick: Tick | None, way: Way) -> tuple[Outcomes, ...]:
        """The outcomes for each gate of the way, in its order."""
        if tick is None:
            return ()
        return tuple(self.gate(tick, gate) for gate in way.gates)


def watch(
    change: Change, stage: Stage, mesh: Mesh, in_flight: Iterable[Change], connected: Collection[str] | None
) -> Watch:
    """Whom to look at, by the same arguments that `plan.effective` found the members of the stage with."""
    services = touched(change, mesh, in_flight)
    if isinstance(stage, WeightStage):
        callers = _ids(mesh, (service for service in services if service != change.name))
        return Watch(change, stage, callers)
    everyone = _ids(mesh, services)
    wave = everyone if stage.share >= WHOLE else members(change, stage, services, mesh, connected)
    return Watch(change, stage, wave, wave, everyone - wave)


def _ids(mesh: Mesh, services: Iterable[Name]) -> frozenset[str]:
    return frozenset(
        Node(service, version.name, endpoint).id
        for service in services
        for version in mesh.services[service].versions
        for endpoint in version.endpoints
    )


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
