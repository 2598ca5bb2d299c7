"""A new head of Git against the releases there are: which go on, which end, which changes need a release. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from policyd.plan.change import Change
from policyd.rollout.content import content_id
from policyd.rollout.record import Phase
from policyd.rollout.release import Release


@dataclass(frozen=True, slots=True)
class Reconciled:
    """`kept` go on (or stay aborted), `ended` are superseded, `fresh` changes have no release yet."""

    kept: tuple[Release, ...]
    ended: tuple[Release, ...]
    fresh: tuple[Change, ...]


def reconcile(releases: Sequence[Release], changes: Iterable[Change], commit: str) -> Reconciled:
    """Match releases with the changes that `commit` asks for, by content.

    A commit that alters a change in flight ends its release, which takes it back to base; the altered change begins
    at its first stage. Other commits leave it alone. A try that was given up without a quarantine is made again
    when a new commit comes.
    """
    wanted = {change.key: change for change in changes}
    kept: list[Release] = []
    ended: list[Release] = []
    for release in releases:
        change = wanted.get(release.change.key)
        same = change is not None and content_id(change) == content_id(release.change)
        again = release.phase is Phase.ABORTED and not release.state.quarantine and release.commit != commit
        if change is None or not same or again:
            ended.append(release)
            continue
        del wanted[change.key]
        # Before it begins a release follows Git in what does not count as content: endpoints and needs.
        begun = release.phase.in_flight
        kept.append(release if begun else replace(release, change=change))
    return Reconciled(tuple(kept), tuple(ended), tuple(wanted.values()))
