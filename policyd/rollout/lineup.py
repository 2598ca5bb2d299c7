"""Which releases may begin: what they need is there, and nothing that is being measured disturbs them.

Two rules, each with words for whoever waits:
- A change waits for the changes that bring the units its target needs, as long as these are not promoted. If one of
  them was aborted, it waits until Git says something else: later commits flow around a quarantine, what refers to it
  does not.
- Measured edges are those that end at the changed service. Releases that share one run one after another, in the
  order in which they were asked for, so that a verdict is about one change only; a change of the mesh's settings
  touches every edge and runs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from policyd.model.names import Name
from policyd.plan.change import Change, Unit
from policyd.rollout.record import Phase
from policyd.rollout.release import Release

UnitKey = tuple[Unit, Name]


def blocked(releases: Sequence[Release]) -> Mapping[int, tuple[str, ...]]:
    """By number of each release that has not begun: what it waits for; empty if it may begin now."""
    unfinished = {
        release.change.key: release for release in releases if release.phase not in {Phase.PROMOTED, Phase.SUPERSEDED}
    }
    running = [release for release in releases if release.phase.in_flight]
    answer: dict[int, tuple[str, ...]] = {}
    for release in sorted(releases, key=lambda r: r.number):
        if release.phase not in {Phase.PENDING, Phase.WAITING}:
            continue
        missing = [unfinished[key] for key in _needs(release.change, unfinished)]
        disturbed = [other for other in running if overlap(release.change, other.change)]
        answer[release.number] = tuple(dict.fromkeys(_words(other) for other in (*missing, *disturbed)))
        if not missing and not disturbed:
            running.append(release)
    return answer


def overlap(left: Change, right: Change) -> bool:
    """Whether the two share a measured edge."""
    return Unit.SETTINGS in {left.unit, right.unit} or left.name == right.name


def _needs(change: Change, unfinished: Mapping[UnitKey, Release]) -> Iterable[UnitKey]:
    """Unfinished units that `change` needs. Two changes that need each other do not wait for each other."""
    for key in change.needs:
        other = unfinished.get(key)
        if other is not None and key != change.key and not _reaches(other.change, change.key, unfinished):
            yield key


def _reaches(start: Change, wanted: UnitKey, unfinished: Mapping[UnitKey, Release]) -> bool:
    seen: set[UnitKey] = set()
    todo = [start]
    while todo:
        change = todo.pop()
        for key in change.needs:
            if key == wanted:
                return True
            if key in unfinished and key not in seen:
                seen.add(key)
                todo.append(unfinished[key].change)
    return False


def _words(other: Release) -> str:
    name = f"{other.change.unit.value} {other.change.name}"
    return f"{name} (quarantined)" if other.state.quarantine else name
