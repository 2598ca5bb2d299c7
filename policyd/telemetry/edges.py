"""Who called whom: every edge that carried a request lately, and when each last did. For people, as the rates are.

Fed by the readings that are made for the rates anyway. What it holds grows with the edges that were used and with the
ticks of one window, of which a larger mesh has fewer.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from policyd.compiler.naming import parse_cluster_name, parse_fallback_name, unpinned
from policyd.model.names import Name
from policyd.model.node import service_of
from policyd.telemetry.counters import Outcomes, Tick
from policyd.telemetry.source import Reading
from policyd.telemetry.windows import together

WINDOW_S = 60.0
"""How far back rates, shares and quantiles look."""

Pair = tuple[Name, Name]
"""Caller and callee."""
Way = tuple[Name, Name, str]
"""Caller, callee and the callee's version."""
RuleAt = tuple[Name, str]
"""Whose sidecar judged, the callee's or that of a caller whose call leaves the mesh; and the rule, `namespace/name`,
whatever its wording."""


@dataclass(frozen=True, slots=True)
class Now:
    """What stands between a caller and a version at this moment, over all sidecars that were read last."""

    open_circuits: int = 0
    """Sidecars of the caller of which some bound of the circuit breaker is reached."""
    left_out: int = 0
    """Instances that outlier detection leaves out, counted once for each of the caller's sidecars."""
    active: int = 0
    """Requests and connections that are under way; those of a `tcp` service may last for hours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was counted. A number per service is over all of its sidecars that were read."""

    seconds: float = 0.0
    """How long the ticks in the window took together, at most `WINDOW_S`."""
    since: datetime | None = None
    """Since when anybody has looked; `None` before the first reading."""
    ways: Mapping[Way, Outcomes] = field(default_factory=dict)
    """Within the window."""
    last_used: Mapping[Pair, datetime] = field(default_factory=dict)
    """The instant after which an edge carried nothing; edges that never did are absent."""
    now: Mapping[Way, Now] = field(default_factory=dict)
    """Where anything is under way, open or left out now; other ways are absent."""
    matched: Mapping[RuleAt, int] = field(default_factory=dict)
    """Requests that a rule let in within the window. Whose they were is not counted."""
    rule_last_used: Mapping[RuleAt, datetime] = field(default_factory=dict)
    """The instant after which a rule let nothing in; rules that never did are absent."""
    denied: Mapping[tuple[Name, str], int] = field(default_factory=dict)
    """Denials at a callee's sidecars within the window, by the reason. Who was denied is not counted."""
    not_in_scope: Mapping[Name, int] = field(default_factory=dict)
    """Requests for hosts out of scope within the window, by caller. Which hosts is not counted."""
    kept_in: Mapping[tuple[Name, str], int] = field(default_factory=dict)
    """Denials of calls that would leave the mesh, by caller and reason; to which host is not counted."""
    not_read: frozenset[str] = frozenset()
    """Nodes that were asked last and did not answer."""
    last_read: Mapping[str, datetime] = field(default_factory=dict)
    """When each node that was asked last answered last; those that never did are absent."""


@dataclass(frozen=True, slots=True)
class _Moment:
    seconds: float
    ways: Mapping[Way, Outcomes]
    matched: Mapping[RuleAt, int]
    denied: Mapping[tuple[Name, str], int]
    not_in_scope: Mapping[Name, int]
    kept_in: Mapping[tuple[Name, str], int]


class Edges:
    """Remembers the ticks of one window, and of each edge when it was last used."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._moments: deque[_Moment] = deque()
        self._since: datetime | None = None
        self._last_used: dict[Pair, datetime] = {}
        self._rule_last_used: dict[RuleAt, datetime] = {}
        self._now: Mapping[Way, Now] = {}
        self._not_read: frozenset[str] = frozenset()
        self._last_read: dict[str, datetime] = {}

    def add(self, tick: Tick, reading: Reading, *, asked: Collection[str], at: datetime) -> None:
        """Take one more reading, made at `at` of the nodes `asked`, and the tick that it ended."""
        self._since = self._since or at
        self._not_read = frozenset(asked) - reading.nodes.keys()
        self._last_read |= dict.fromkeys(reading.nodes, at)
        self._last_read = {node: self._last_read[node] for node in asked if node in self._last_read}
        for node, counters in reading.nodes.items():
            told = tick.nodes[node].clusters if node in tick.nodes else {}
            # Read for the first time, or reset, it may be of long ago: nothing came after now, that much is sure.
            used = [
                name
                for name, found in counters.clusters.items()
                if name not in told and (found.completed or found.led_on)
            ]
            used += [name for name, found in counters.clusters.items() if found.active]
            self._use(_ways(node, used), at)
            counted = tick.nodes[node].allowed if node in tick.nodes else counters.allowed
            self._rule_last_used |= dict.fromkeys((rule for rule, count in _rules(node, counted) if count), at)
        self._now = _now(reading)
        moment = _moment(tick)
        self._use((way for way, outcomes in moment.ways.items() if outcomes.requests), at)
        if tick.seconds > 0:
            self._moments.append(moment)
        while len(self._moments) > 1 and sum(each.seconds for each in self._moments) > self._window_s:
            self._moments.popleft()

    def recall(
        self, since: datetime, last_used: Mapping[Pair, datetime], rules: Mapping[RuleAt, datetime] | None = None
    ) -> None:
        """Go on from what was known at the end of an earlier life: what was seen since then is kept."""
        self._since = min(since, self._since or since)
        for pair, at in last_used.items():
            self._last_used[pair] = max(at, self._last_used.get(pair, at))
        for rule, at in (rules or {}).items():
            self._rule_last_used[rule] = max(at, self._rule_last_used.get(rule, at))

    def seen(self) -> Seen:
        """All of it, as it is now."""
        denied, not_in_scope, matched = Counter[tuple[Name, str]](), Counter[Name](), Counter[RuleAt]()
        kept_in = Counter[tuple[Name, str]]()
        for each in self._moments:
            denied.update(each.denied)
            matched.update(each.matched)
            not_in_scope.update(each.not_in_scope)
            kept_in.update(each.kept_in)
        ways = sorted({way for each in self._moments for way in each.ways})
        return Seen(
            seconds=sum(each.seconds for each in self._moments),
            since=self._since,
            ways={way: together(each.ways[way] for each in self._moments if way in each.ways) for way in ways},
            last_used=dict(self._last_used),
            now=self._now,
            matched=matched,
            rule_last_used=dict(self._rule_last_used),
            denied=denied,
            not_in_scope=not_in_scope,
            kept_in=kept_in,
            not_read=self._not_read,
            last_read=self._last_read,
        )

    def _use(self, ways: Iterable[Way], at: datetime) -> None:
        for caller, callee, _ in ways:
            self._last_used[caller, callee] = at


def _ways(node: str, clusters: Iterable[str]) -> Iterable[Way]:
    caller = service_of(node)
    for cluster in clusters:
        called = parse_fallback_name(cluster) or parse_cluster_name(unpinned(cluster))
        if caller is not None and called is not None:
            yield caller, *called


def _rules(node: str, allowed: Mapping[str, int]) -> Iterable[tuple[RuleAt, int]]:
    callee = service_of(node)
    if callee is not None:
        for logged, count in allowed.items():
            yield (callee, logged.partition("#")[0]), count


def _now(reading: Reading) -> Mapping[Way, Now]:
    found: dict[Way, Now] = {}
    for node, counters in reading.nodes.items():
        for cluster, seen in counters.clusters.items():
            if seen.open_circuits or seen.left_out or seen.active:
                for way in _ways(node, (cluster,)):
                    known = found.get(way, Now())
                    found[way] = Now(
                        known.open_circuits + bool(seen.open_circuits),
                        known.left_out + seen.left_out,
                        known.active + seen.active,
                    )
    return found


def ways_of(tick: Tick) -> dict[Way, Outcomes]:
    """What happened on each way in a tick, over all sidecars of the caller; ways without anything are absent."""
    found: dict[Way, Outcomes] = {}
    for node, counted in tick.nodes.items():
        for cluster, outcomes in counted.clusters.items():
            # What was led on came here as well; its outcome stands where it was meant for.
            arrived = replace(outcomes, requests=outcomes.requests + outcomes.led_on, led_on=0)
            for way in _ways(node, (cluster,)) if arrived != Outcomes() else ():
                found[way] = together((found.get(way, Outcomes()), arrived))
    return found


def _moment(tick: Tick) -> _Moment:
    denied, not_in_scope, matched = Counter[tuple[Name, str]](), Counter[Name](), Counter[RuleAt]()
    kept_in = Counter[tuple[Name, str]]()
    for node, counted in tick.nodes.items():
        service = service_of(node)
        if service is None:
            continue
        for rule, count in _rules(node, counted.allowed):
            matched[rule] += count
        for reason, count in counted.denied.items():
            denied[service, reason] += count
        if counted.not_in_scope:
            not_in_scope[service] += counted.not_in_scope
        for reason, count in counted.kept_in.items():
            kept_in[service, reason] += count
    return _Moment(tick.seconds, ways_of(tick), matched, denied, not_in_scope, kept_in)
