"""The service map: what rules allow, joined with what sidecars counted. The join is pure; `MeshMapping` feeds it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from policyd.api.service_map import Edge, RuleUse, ServiceMap, Traffic, Tried
from policyd.base.clock import Clock
from policyd.base.errors import Retry
from policyd.compiler.rules import NOT_IN_SCOPE
from policyd.daemon import leaving
from policyd.model.edges import Allowed, sources
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import service_of
from policyd.model.service import Protocol
from policyd.rollout.driver import Driver
from policyd.telemetry.buckets import quantile
from policyd.telemetry.counters import Outcomes
from policyd.telemetry.edges import Now, Pair, Seen
from policyd.telemetry.windows import together

NOTES = (
    "mtls: by construction, not measured: a sidecar takes calls by mutual TLS only, and makes them so",
    (
        "errors and latencies are as the caller's sidecar saw them, after retries; latencies come up to 5 s later,"
        " in whole milliseconds, and are estimated within buckets (1, 2, 5, 10, 20, 50, 100, ... ms)"
    ),
    (
        "rules: counted where they let a request in, by the callee's sidecars, without callers; of several rules that"
        " fit, the first by name counts"
    ),
    "unused: no request in the window; uses before `watched_since`, or by callers without a sidecar, are not known",
    (
        "denied by a callee: its sidecar counts reasons without callers, and a caller cannot tell a 401 or 403 of the"
        " sidecar from one of the application, so there is an upper bound for each edge"
    ),
    f"denied by the caller's own sidecar ({NOT_IN_SCOPE}): counted without the host, which is in its access log",
    leaving.NOTE,
)


class MeshMapping:
    """Implements `api.service_map.Mapping` for a running controller."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def service_map(self) -> ServiceMap:
        """The map, as of now. Raises `Retry` before anything is promoted."""
        mesh = self._driver.closing.judged
        if mesh is None:
            raise Retry("no mesh has been promoted yet", after=1.0)
        return joined(mesh, self._driver.edges.seen(), self._clock.now())


def joined(mesh: Mesh, seen: Seen, at: datetime) -> ServiceMap:
    """The map of `mesh`, from which the floor is taken already. As large as what rules say and what was used."""
    allowed, seen = Allowed.of(mesh), leaving.at_their_hosts(mesh, seen)
    seen = replace(seen, ways={way: _timed(mesh, way[1], outcomes) for way, outcomes in seen.ways.items()})
    return ServiceMap(
        at=at.isoformat(timespec="seconds"),
        window_s=round(seen.seconds, 1),
        watched_since=_instant(seen.since),
        services=tuple(str(name) for name in sorted(mesh.services)),
        edges=tuple(_edges(allowed, seen)),
        rules=tuple(_rules(allowed, seen, leaving.outside(mesh))),
        denied=tuple(sorted((*_denied(seen), *leaving.kept_in(mesh, seen)), key=_place)),
        not_read=tuple(sorted(seen.not_read)),
        notes=NOTES,
    )


def _timed(mesh: Mesh, callee: Name, outcomes: Outcomes) -> Outcomes:
    """What was seen; how long connections lasted is no latency."""
    service = mesh.services.get(callee)
    takes_connections = service is not None and service.protocol is Protocol.TCP
    return replace(outcomes, latency=None) if takes_connections else outcomes


def _edges(allowed: Allowed, seen: Seen) -> Iterable[Edge]:
    by_pair: dict[Pair, dict[str, Outcomes]] = {}
    for (caller, callee, version), outcomes in seen.ways.items():
        by_pair.setdefault((caller, callee), {})[version] = outcomes
    moved = {pair for pair, versions in by_pair.items() if any(each.requests for each in versions.values())}
    moved |= {(caller, callee) for (caller, callee, _), now in seen.now.items() if now.active}
    lately: dict[tuple[str, Name], bool] = {}
    last: dict[tuple[str, Name], datetime] = {}
    for pair, at_last in seen.last_used.items():
        for source in sources(pair[0]):
            key = source, pair[1]
            last[key] = max(at_last, last.get(key, at_last))
            lately[key] = lately.get(key, False) or pair in moved
    written = {
        (source, callee): rules for callee, edges in allowed.by_callee.items() for source, rules in edges.items()
    }
    through = {(str(caller), callee): allowed.rules(caller, callee) for caller, callee in moved}
    silent = {service_of(node) for node in seen.not_read}
    for key in sorted(written.keys() | through.keys()):
        source, callee = key
        versions = by_pair.get((Name.parse(source), callee), {}) if key in through else {}
        now = {version: found for (caller, to, version), found in seen.now.items() if (str(caller), to) == key}
        used = last.get(key)
        unused = None if not lately.get(key) and _may_be(source, silent) else not lately.get(key, False)
        if seen.since is None:
            unused = None
        yield Edge(
            caller=source,
            callee=str(callee),
            rules=(rules := through.get(key, written.get(key, ()))),
            matched={rule: count for rule in rules if (count := seen.matched.get((callee, rule), 0))},
            traffic=_traffic(together(versions.values()), seen.seconds, _sum(now.values())),
            versions={
                version: _traffic(versions.get(version, Outcomes()), seen.seconds, now.get(version, Now()))
                for version in sorted(versions.keys() | now.keys())
            },
            unused=unused,
            unused_since=_instant(used or seen.since) if unused else "",
            ever_used=used is not None,
        )


def _rules(allowed: Allowed, seen: Seen, outside: Collection[Name]) -> Iterable[RuleUse]:
    """Every rule that lets somebody in, by name; none is called unused where a sidecar that judges was not read."""
    callers: dict[tuple[str, Name], list[str]] = {}
    for callee, edges in allowed.by_callee.items():
        for source, rules in edges.items():
            for rule in rules:
                callers.setdefault((rule, callee), []).append(source)
    silent = {service_of(node) for node in seen.not_read}
    for (rule, callee), who in sorted(callers.items()):
        matched, used = seen.matched.get((callee, rule), 0), seen.rule_last_used.get((callee, rule))
        missing = any(_may_be(source, silent) for source in who) if callee in outside else callee in silent
        unused = None if seen.since is None or (missing and not matched) else not matched
        yield RuleUse(
            rule=rule,
            callee=str(callee),
            callers=tuple(sorted(who)),
            matched=matched,
            unused=unused,
            unused_since=_instant(used or seen.since) if unused else "",
            ever_used=used is not None,
        )


def _sum(now: Iterable[Now]) -> Now:
    each = tuple(now)
    return Now(sum(one.open_circuits for one in each), sum(one.left_out for one in each))


def _may_be(source: str, silent: Iterable[Name | None]) -> bool:
    """Whether one of the services whose sidecars were not read is a caller of the edge."""
    return any(name is not None and source in sources(name) for name in silent)


def _place(tried: Tried) -> tuple[str, str, str]:
    return tried.caller, tried.callee, tried.refused_by


def _denied(seen: Seen) -> list[Tried]:
    reasons: dict[Name, dict[str, int]] = {}
    for (callee, reason), count in sorted(seen.denied.items()):
        reasons.setdefault(callee, {})[reason] = count
    refused: dict[Pair, int] = {}
    for (caller, callee, _), outcomes in seen.ways.items():
        if outcomes.refused:
            refused[caller, callee] = refused.get((caller, callee), 0) + outcomes.refused
    found = [
        Tried(str(caller), str(callee), "callee", reasons[callee], min(count, sum(reasons[callee].values())))
        for (caller, callee), count in refused.items()
        if callee in reasons
    ]
    found += [
        Tried("", str(callee), "callee", why, sum(why.values()))
        for callee, why in reasons.items()
        if sum(why.values()) > sum(count for pair, count in refused.items() if pair[1] == callee)
    ]
    found += [
        Tried(str(caller), "", "caller", {NOT_IN_SCOPE: count}, count) for caller, count in seen.not_in_scope.items()
    ]
    return found


def _traffic(seen: Outcomes, seconds: float, now: Now) -> Traffic:
    p50, p95, p99 = (quantile(seen.latency, q) if seen.latency is not None else None for q in (0.5, 0.95, 0.99))
    return Traffic(
        requests=seen.requests,
        requests_per_s=round(seen.requests / seconds, 3) if seconds else 0.0,
        error_share=round(seen.errors / seen.requests, 6) if seen.requests else 0.0,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        refused=seen.refused,
        retries=seen.retries,
        open_circuits=now.open_circuits,
        left_out=now.left_out,
    )


def _instant(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at is not None else ""
