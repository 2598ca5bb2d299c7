"""Which commit proxies run: the recent history, compiled, against the versions of what each proxy holds. Pure.

    history -> lowered meshes (newest first) -> compiled for the nodes that run -> the most alike, and its base

Versions are content hashes, so that equal ones are equal bytes. Endpoints and secrets are left out: they are runtime,
and belong to no commit. A service whose requests are split is compared with the split that is live; it is in the
middle of a canary, and what was promoted is the commit that the canary began at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from policyd.delivery.resource_types import ENDPOINT, SECRET, WILDCARD_TYPES
from policyd.delivery.snapshot import NodeSnapshot
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Split
from policyd.plan.change import Unit
from policyd.plan.changes import changes
from policyd.plan.effective import effective, value_at
from policyd.plan.floor import Floor
from policyd.plan.stages import stages
from policyd.rollout.assembly import Assembly

Versions = Mapping[tuple[str, str], str]
"""What a proxy holds: type and name -> content hash."""
_RUNTIME = frozenset({ENDPOINT, SECRET})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit of the history and the mesh that it says."""

    commit: str
    mesh: Mesh


@dataclass(frozen=True, slots=True)
class Likeness:
    """The commit that is most like what proxies run: `alike` of `of` run exactly that, but for splits."""

    commit: str
    alike: int
    of: int
    base: str = ""
    """What to say was promoted, so that nothing jumps; empty where it cannot be told."""

    @property
    def whole(self) -> bool:
        """Whether every proxy runs exactly that."""
        return self.alike == self.of


def likeness(
    history: Sequence[Candidate],
    running: Mapping[str, Versions],
    live: Mapping[Name, Split],
    fresh: Assembly,
    at: datetime,
) -> Likeness | None:
    """The most alike of `history` (newest first), the newest among equals; `None` where there is no history.

    `live` are the splits by which proxies send requests, `fresh` an assembly without memory or secrets, `at` the
    instant for which expired rules are taken out. Takes seconds for a large mesh.
    """
    moving = {name: split for name, split in live.items() if split != Split.all_to(split.weights[0][0])}
    best: Likeness | None = None
    for candidate in history:
        alike = _alike(_with_splits(candidate.mesh, moving), running, fresh, at)
        if best is None or alike > best.alike:
            base = _base(history, moving) if moving else candidate.commit
            best = Likeness(candidate.commit, alike, len(running), base)
        if best.whole:
            break
    return best


def _alike(mesh: Mesh, running: Mapping[str, Versions], fresh: Assembly, at: datetime) -> int:
    """How many of the nodes that run hold just what this mesh compiles to."""
    wanted = effective(mesh, (), mesh, Floor(at, tuple(mesh.revocations.values())))
    nodes = [node for node in wanted.nodes() if node.id in running]
    made = fresh.snapshots(nodes, wanted.mesh_for)
    return sum(_same(made[node.id], running[node.id]) for node in nodes)


def _same(made: NodeSnapshot, held: Versions) -> bool:
    expected = {(one.kind, one.name): one.version for one in made if one.kind not in _RUNTIME}
    decided = {key: version for key, version in held.items() if key[0] not in _RUNTIME}
    # A proxy asks for all clusters and listeners, and for such routes only as some listener uses.
    everything = {key for key in expected if key[0] in WILDCARD_TYPES}
    return decided.items() <= expected.items() and everything <= decided.keys()


def _with_splits(mesh: Mesh, moving: Mapping[Name, Split]) -> Mesh:
    moved = {
        name: replace(mesh.services[name], split=split) for name, split in moving.items() if name in mesh.services
    }
    return replace(mesh, services={**mesh.services, **moved}) if moved else mesh


def _base(history: Sequence[Candidate], moving: Mapping[Name, Split]) -> str:
    """The newest commit that every canary under way may have begun at; empty where some canary fits none."""
    begun = [_begun_at(history, name, split) for name, split in moving.items()]
    if any(index is None for index in begun):
        return ""
    oldest = max(index for index in begun if index is not None)
    return history[oldest].commit


def _begun_at(history: Sequence[Candidate], name: Name, split: Split) -> int | None:
    """Where the newest canary began whose stages send requests as `split` does."""
    for index, (target, base) in enumerate(pairwise(history), start=1):
        for change in changes(base.mesh, target.mesh):
            if change.key != (Unit.SERVICE, name) or change.target is None:
                continue
            ways = (value_at(change, stage) for stage in stages(change, target.mesh.releases))
            if any(getattr(way, "split", None) == split for way in ways):
                return index
    return None
