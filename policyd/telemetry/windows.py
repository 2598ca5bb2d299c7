"""The arms of a comparison: one tick's outcomes, grouped into canary and stable, stratum by stratum.

A stratum is the service whose proxies counted: callers differ in what they ask for, so only instances of the same
service over the same tick are compared. Node ids start `namespace/service/`, which names the stratum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from policyd.compiler.naming import APP, parse_cluster_name
from policyd.model.names import Name
from policyd.telemetry.buckets import add
from policyd.telemetry.counters import NodeTick, Outcomes, Tick

NOTHING = Outcomes()


@dataclass(frozen=True, slots=True)
class Stratum:
    """Both arms at the proxies of one service; `of` is that service."""

    of: Name
    canary: Outcomes
    stable: Outcomes


Counted = Callable[[Name, NodeTick], Outcomes]
"""What of a node's tick is compared, given the service that the node belongs to."""


def service_of(node: str) -> Name:
    """The service that a node id belongs to."""
    namespace, service, _ = node.split("/", 2)
    return Name(namespace, service)


def by_version(tick: Tick, service: Name, canary: str, stable: str) -> tuple[Stratum, ...]:
    """Outcomes of two versions of `service` at their callers, one stratum per calling service.

    A request that a fallback had to answer is an error of the version that it was meant for: failover hides from
    callers that a version is down, and must not hide it from the comparison.
    """
    arms: dict[Name, tuple[Outcomes, Outcomes]] = {}
    for node, counted in tick.nodes.items():
        meant = [(parse_cluster_name(name), outcomes) for name, outcomes in counted.clusters.items()]
        new, old = (
            [outcomes for whom, outcomes in meant if whom == (service, version)] for version in (canary, stable)
        )
        if not new and not old:
            continue
        left, right = arms.get(service_of(node), (NOTHING, NOTHING))
        arms[service_of(node)] = together((left, _its_own(new))), together((right, _its_own(old)))
    return _strata(arms)


def _its_own(parts: Iterable[Outcomes]) -> Outcomes:
    outcomes = together(parts)
    if not outcomes.led_on:
        return outcomes
    return replace(outcomes, errors=min(outcomes.requests, outcomes.errors + outcomes.led_on), led_on=0)


def by_wave(tick: Tick, wave: frozenset[str], outside: frozenset[str], counted: Counted) -> tuple[Stratum, ...]:
    """Outcomes at nodes that have the change against nodes of the same service that do not have it yet."""
    arms: dict[Name, tuple[Outcomes, Outcomes]] = {}
    for node, seen in tick.nodes.items():
        if node not in wave and node not in outside:
            continue
        of = service_of(node)
        left, right = arms.get(of, (NOTHING, NOTHING))
        here = counted(of, seen)
        arms[of] = (together((left, here)), right) if node in wave else (left, together((right, here)))
    return _strata(arms)


def denials(of: Name, seen: NodeTick) -> Outcomes:
    """Requests at the inbound listener; the errors are those that access rules denied."""
    return seen.inbound or NOTHING


def calls_to(service: Name) -> Counted:
    """Outcomes of `service`: at its callers those of their clusters to it, at its own nodes those of the app."""

    def counted(of: Name, seen: NodeTick) -> Outcomes:
        if of == service:
            return seen.clusters.get(APP, NOTHING)
        return together(
            outcomes for cluster, outcomes in seen.clusters.items() if _names(parse_cluster_name(cluster), service)
        )

    return counted


def everything(of: Name, seen: NodeTick) -> Outcomes:
    """All that a node sent and received, and every denial at its inbound listener as an error."""
    return together((*seen.clusters.values(), seen.inbound or NOTHING))


def together(parts: Iterable[Outcomes]) -> Outcomes:
    """The sum of several outcomes."""
    requests, errors, latency, refused, retries, led_on = 0, 0, None, 0, 0, 0
    for part in parts:
        requests, errors, latency = requests + part.requests, errors + part.errors, add(latency, part.latency)
        refused, retries, led_on = refused + part.refused, retries + part.retries, led_on + part.led_on
    return Outcomes(requests, errors, latency, refused, retries, led_on)


def _names(parsed: tuple[Name, str] | None, service: Name) -> bool:
    return parsed is not None and parsed[0] == service


def _strata(arms: dict[Name, tuple[Outcomes, Outcomes]]) -> tuple[Stratum, ...]:
    return tuple(Stratum(of, canary, stable) for of, (canary, stable) in sorted(arms.items()))
