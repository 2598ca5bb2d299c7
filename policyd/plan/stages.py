"""The stages of a change: weights for a version that moves, waves over proxies for everything else."""

from __future__ import annotations

import dataclasses

from policyd.model.mesh import Releases
from policyd.model.release import CanaryPlan, Strategy
from policyd.model.service import WHOLE, Service
from policyd.plan.change import Change, Stage, Unit, WaveStage, WeightStage
from policyd.plan.runtime import same_decision


def stages(change: Change, releases: Releases) -> tuple[Stage, ...]:
    """The stages in order. None at all means that the change is taken at once, with nothing to watch.

    - What never was (`base` None) replaces nothing: at once. The same for settings: trust domain and ports hold
      between peers, so that two halves of a mesh with different settings could not talk.
    - A service that is removed: at once. Its rules went before it, in waves (`Change.needs`), so nobody is left who
      may call it and could be measured; routes still go before instances (`steps`).
    - A version that moves, with a canary plan: the plan's `first` callers alone if it names some, then its weights.
    - A version that moves together with other parts of the service: waves for those parts with the old split, so
      that both versions are then compared under the same settings.
    - All else, rules that are removed or narrowed too: the waves of the mesh's strategy.
    """
    removed = change.unit is Unit.SERVICE and change.target is None
    if change.base is None or change.unit is Unit.SETTINGS or removed:
        return ()
    plan = releases.canaries.get(change.name) if change.unit is Unit.SERVICE else None
    if plan is None or not moves_version(change):
        return _waves(releases.strategy)
    before = _waves(releases.strategy, keeps_split=True) if _moves_more(change) else ()
    return (*before, *_weights(plan))


def moves_version(change: Change) -> bool:
    """Whether the change lets another version serve."""
    base, target = change.base, change.target
    return isinstance(base, Service) and isinstance(target, Service) and base.serving != target.serving


def _moves_more(change: Change) -> bool:
    base, target = change.base, change.target
    assert isinstance(base, Service)
    assert isinstance(target, Service)
    return not same_decision(with_split_of(target, base), base)


def with_split_of(service: Service, other: Service) -> Service:
    """`service` with the split of `other`."""
    return dataclasses.replace(service, split=other.split)


def _weights(plan: CanaryPlan) -> tuple[WeightStage, ...]:
    first = (WeightStage(0, plan.first),) if plan.first is not None else ()
    return (*first, *(WeightStage(step, plan.first) for step in plan.steps))


def _waves(strategy: Strategy, *, keeps_split: bool = False) -> tuple[WaveStage, ...]:
    """The waves, each at least as wide as the one before; one that adds nothing to it is no stage of its own."""
    made: list[WaveStage] = []
    count = share = 0
    for asked in strategy.waves:
        count, share = max(count, asked.count), max(share, asked.share)
        wave = WaveStage(count, min(share, WHOLE), keeps_split)
        if made[-1:] != [wave]:
            made.append(wave)
    return tuple(made)
