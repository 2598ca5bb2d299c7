"""What changes between two meshes, in plain words, each with the place in the intents that asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from policyd.model.access import Access, Rule
from policyd.model.mesh import Mesh, Releases
from policyd.model.names import DEFAULT_NAMESPACE, Name
from policyd.model.provenance import Key, Provenance
from policyd.model.service import Service
from policyd.plan.change import Change, Unit
from policyd.plan.changes import changes
from policyd.plan.describe import describe
from policyd.plan.runtime import same_decision

_Titled = tuple[Name, str, str]
"""Name, kind and title of something that says how changes are taken."""


@dataclass(frozen=True, slots=True)
class Said:
    """One change in plain words, and the place in the intents that asks for it."""

    text: str
    place: str = ""


def said(old: Mesh, new: Mesh, provenance: Mapping[Key, Provenance], path: Path) -> tuple[Said, ...]:
    """Every change in plain words, with the place in the intents that asks for it."""
    planned = [Said(describe(change), _place(change, provenance, path)) for change in changes(old, new)]
    return (*planned, *_ways(old.releases, new.releases, provenance, path))


def _place(change: Change, provenance: Mapping[Key, Provenance], path: Path) -> str:
    match change.unit:
        case Unit.SERVICE:
            return _found(_asking(change), provenance, path)
        case Unit.SETTINGS:
            return _found(Key("Mesh", change.name), provenance, path)
        case Unit.ACCESS:
            before, after = ({rule.name: rule for rule in _rules(side)} for side in (change.base, change.target))
            changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
            places = (_found(Key("AccessRule", name), provenance, path) for name in changed)
            return ", ".join(dict.fromkeys(place for place in places if place))


def _asking(change: Change) -> Key:
    """The route, where nothing else of its service changes."""
    base, target = change.base, change.target
    if not (isinstance(base, Service) and isinstance(target, Service)) or target.route is None:
        return Key("Service", change.name)
    alone = same_decision(replace(base, route=target.route), target)
    return Key("Route", target.route.name) if alone else Key("Service", change.name)


def _rules(side: object) -> tuple[Rule, ...]:
    return side.rules if isinstance(side, Access) else ()


def _ways(old: Releases, new: Releases, provenance: Mapping[Key, Provenance], path: Path) -> Iterator[Said]:
    """What changes in how later changes are taken: it reaches no proxy, and still matters to a reviewer."""
    yield from _differing(_canaries(old), _canaries(new), provenance, path)
    yield from _differing(_slos(old), _slos(new), provenance, path)
    if old.strategy != new.strategy:
        place = _found(Key("RolloutStrategy", new.strategy.name), provenance, path)
        yield Said(f"rollout strategy: {_short(new.strategy.name)}", place)


def _canaries(releases: Releases) -> dict[_Titled, object]:
    return {
        (plan.name, "CanarySplit", f"canary of {_short(plan.service)}"): plan for plan in releases.canaries.values()
    }


def _slos(releases: Releases) -> dict[_Titled, object]:
    return {(slo.name, "SLO", f"SLO {_short(slo.name)}"): slo for slo in releases.slos.values()}


def _differing(
    old: Mapping[_Titled, object],
    new: Mapping[_Titled, object],
    provenance: Mapping[Key, Provenance],
    path: Path,
) -> Iterator[Said]:
    for name, kind, title in sorted(old.keys() | new.keys()):
        before, after = old.get((name, kind, title)), new.get((name, kind, title))
        if before != after:
            verb = "added" if before is None else "removed" if after is None else "changed"
            yield Said(f"{title}: {verb}", _found(Key(kind, name), provenance, path))


def _found(key: Key, provenance: Mapping[Key, Provenance], path: Path) -> str:
    known = provenance.get(key)
    return str(replace(known.location, path=(path / known.location.path).as_posix())) if known is not None else ""


def _short(name: Name) -> str:
    return name.name if name.namespace == DEFAULT_NAMESPACE else str(name)
