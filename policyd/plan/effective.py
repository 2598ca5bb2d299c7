"""What each node should run: the positions of all changes in flight laid over the promoted mesh, minus the floor.

    promoted mesh + instances of the head - the floor            = the ground
    + changes that are everywhere (weights, last waves)          = what most nodes run
    + for each node, the changes whose wave has reached it       = what it runs instead

Few meshes are made: one for each set of changes that some node has and not all. Objects that no change touches are
shared by all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from policyd.model.access import Access
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.node import Node, nodes
from policyd.model.service import WHOLE, Service, Split
from policyd.plan.change import Change, Position, Stage, Unit, Value, WaveStage, WeightStage
from policyd.plan.changes import replaced
from policyd.plan.floor import Floor, distrusting, narrow, subtracted
from policyd.plan.membership import members, touched
from policyd.plan.runtime import live, refreshed, with_keys

Key = tuple[Unit, Name]
NO_KEYS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Effective:
    """The mesh of every node: `common`, but for the nodes (by id) in `others`."""

    common: Mesh
    others: Mapping[str, Mesh] = field(default_factory=dict)
    instances: tuple[Node, ...] = ()
    at: datetime | None = None
    """The instant for which expired rules were taken out."""

    @classmethod
    def at_rest(cls, mesh: Mesh) -> Effective:
        """Every node runs `mesh`."""
        return cls(mesh, {}, tuple(nodes(mesh)))

    def mesh_for(self, node: Node) -> Mesh:
        """What `node` should run. Nodes with equal configuration share the object."""
        return self.others.get(node.id, self.common) if self.others else self.common

    def nodes(self) -> tuple[Node, ...]:
        """Every node that should run something, by service, version and address."""
        return self.instances


def effective(
    promoted: Mesh,
    positions: Sequence[Position],
    runtime: Mesh,
    floor: Floor,
    connected: Collection[str] | None = None,
    *,
    keys: Mapping[str, str] = NO_KEYS,
) -> Effective:
    """The mesh of every node, minus `floor`.

    `runtime` says which instances there are. `connected`, where known, are the node ids that waves count: a wave
    over proxies that are away would show nothing. `keys` are those of token issuers that were fetched, by URL.
    """
    ground = _keyed(subtracted(refreshed(promoted, runtime), floor), keys)
    domain = promoted.settings.trust_domain
    laid = [position for position in positions if position.stage is not None]
    everywhere: dict[Key, Value] = {}
    partial: list[tuple[Change, WaveStage, Value]] = []
    for position in laid:
        value = _live_value(position.change, position.stage, runtime, floor, domain)
        if isinstance(value, Settings):
            value = distrusting(with_keys(value, keys), floor)
        if isinstance(position.stage, WaveStage) and position.stage.share < WHOLE:
            partial.append((position.change, position.stage, value))
        else:
            everywhere[position.change.key] = value
    common = replace(replaced(ground, everywhere), releases=runtime.releases)
    others = _others(common, partial, tuple(position.change for position in laid), connected)
    return Effective(common, others, tuple(nodes(common)), floor.at)


def _keyed(mesh: Mesh, keys: Mapping[str, str]) -> Mesh:
    settings = with_keys(mesh.settings, keys)
    return mesh if settings is mesh.settings else replace(mesh, settings=settings)


def _others(
    common: Mesh,
    partial: Sequence[tuple[Change, WaveStage, Value]],
    laid: Sequence[Change],
    connected: Collection[str] | None,
) -> dict[str, Mesh]:
    """The nodes that a wave has reached, with what they run."""
    reached: dict[str, tuple[int, ...]] = {}
    for index, (change, stage, _) in enumerate(partial):
        for node in members(change, stage, touched(change, common, laid), common, connected):
            reached[node] = (*reached.get(node, ()), index)
    variants = {
        which: replaced(common, {partial[index][0].key: partial[index][2] for index in which})
        for which in dict.fromkeys(reached.values())
    }
    return {node: variants[which] for node, which in reached.items()}


def value_at(change: Change, stage: Stage) -> Value:
    """What a node that a stage has reached runs for the changed unit, with the versions of base and target."""
    base, target = change.base, change.target
    if not (isinstance(base, Service) and isinstance(target, Service)):
        return target
    split = target.split
    if isinstance(stage, WeightStage):
        split = _mixed(base.serving, target.serving, stage)
    elif stage.keeps_split:
        split = base.split
    return live(replace(target, split=split), target, base)


def _mixed(old: str, new: str, stage: WeightStage) -> Split:
    if stage.weight >= WHOLE:
        return Split.all_to(new)
    shares = {old: WHOLE - stage.weight, new: stage.weight}
    weights = tuple(sorted((version, share) for version, share in shares.items() if share))
    return Split(weights, stage.first, new if stage.first is not None else "")


def _live_value(change: Change, stage: Stage | None, runtime: Mesh, floor: Floor, trust_domain: str) -> Value:
    assert stage is not None
    value = value_at(change, stage)
    if isinstance(value, Service):
        base = change.base if isinstance(change.base, Service) else None
        return live(value, runtime.services.get(change.name), base)
    return narrow(value, floor, trust_domain) if isinstance(value, Access) else value
