"""Examines every proxy: what it should run and what it acknowledged or refused, its certificate, its counters.

    ledger, xDS streams, statistics, admin interfaces -> `health` (pure) -> `/v1/proxies`

What the ledger says comes from acknowledgements, never from what was sent; a certificate is what the proxy shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from policyd.api.proxies import Certificate, LastRefusal, MeshHealth, ProxyHealth
from policyd.base.clock import Clock
from policyd.delivery.ledger import Ledger, NodeRecord
from policyd.delivery.resource_types import short_name
from policyd.delivery.snapshot import NodeSnapshot, is_kept
from policyd.delivery.xds.server import XdsServer
from policyd.rollout.driver import Driver
from policyd.telemetry.running import Certificates, RunningEnvoys, SpanExport

LATE = 0.25
"""The share of a leaf's life that is left when it is late: it is renewed at half."""
PATIENCE_S = 5.0
"""A proxy whose statistics did not come is asked again every second; one miss is nothing to tell anybody."""


@dataclass(frozen=True, slots=True)
class Examined:
    """All that is known of one node, before anybody says what is wrong."""

    record: NodeRecord
    program: str
    connected: bool
    in_sync: bool
    assigned: NodeSnapshot | None
    behind: tuple[str, ...]
    certificates: Certificates | None
    stats_at: datetime | None
    stats_missed: bool
    """Whether its statistics were asked for last and did not come."""
    export: SpanExport | None = None
    """How it gets on with its collector of spans; `None` where it has none, or does not say."""


class MeshExamining:
    """Implements `api.proxies.Examining` for a running controller."""

    def __init__(self, driver: Driver, xds: XdsServer, ledger: Ledger, envoys: RunningEnvoys, clock: Clock) -> None:
        self._driver = driver
        self._xds = xds
        self._ledger = ledger
        self._envoys = envoys
        self._clock = clock

    async def examine(self) -> MeshHealth:
        """How they are now. A proxy that is not connected is not asked for its certificate."""
        effective = self._driver.serving()
        if effective is None:
            words = "nothing is served yet: `policyd status` says why"
            return MeshHealth(self._clock.now().isoformat(timespec="seconds"), well=False, problems=(words,))
        nodes = [node.id for node in effective.nodes()]
        connected = [each for each in nodes if each in self._xds.connected()]
        certificates = await self._envoys.certificates(connected)
        exports = await self._envoys.exports(connected) if effective.common.settings.tracing is not None else {}
        seen, at = self._driver.edges.seen(), self._clock.now()
        found = tuple(
            health(
                replace(
                    self._examined(node, seen.last_read.get(node), missed=node in seen.not_read),
                    certificates=certificates.get(node),
                    export=exports.get(node),
                ),
                at,
            )
            for node in nodes
        )
        well = not any(each.problems for each in found)
        return MeshHealth(at.isoformat(timespec="seconds"), well, found)

    def _examined(self, node: str, stats_at: datetime | None, *, missed: bool) -> Examined:
        """What the controller itself knows of a node."""
        proxy = self._xds.proxy(node)
        assigned, reported, refusal = proxy.assigned, dict(proxy.reported()), proxy.refusal
        if refusal is not None:
            for name in refusal.resources:
                reported.pop((refusal.type_url, name), None)  # what it reports of that may be what it refused
        behind = tuple(
            f"{short_name(artifact.kind)} {artifact.name}"
            for artifact in (assigned if assigned is not None and proxy.connected else ())
            if not is_kept(artifact) and reported.get((artifact.kind, artifact.name)) != artifact.version
        )
        return Examined(
            record=self._ledger.record(node),
            program=proxy.version,
            connected=proxy.connected,
            in_sync=self._xds.in_sync(node),
            assigned=assigned,
            behind=behind,
            certificates=None,
            stats_at=stats_at,
            stats_missed=missed,
        )


def health(found: Examined, at: datetime) -> ProxyHealth:
    """What is known of a node at `at`, and what is wrong with it."""
    record, leaf = found.record, found.certificates
    refused = None
    if record.refused is not None:
        refusal, when = record.refused
        kind = short_name(refusal.type_url) if refusal.type_url else ""
        refused = LastRefusal(
            _instant(when), kind, refusal.resources, refusal.error_detail, stands=record.refusal is not None
        )
    return ProxyHealth(
        node=record.node_id,
        program=found.program,
        connected=found.connected,
        since=_instant(record.since),
        in_sync=found.in_sync,
        should_run=found.assigned.digest if found.assigned is not None else "",
        acknowledged=record.acknowledged.digest if record.acknowledged is not None else "",
        behind=found.behind,
        refused=refused,
        certificate=Certificate(
            _instant(leaf.leaf_begins), _instant(leaf.leaf_ends), round((leaf.leaf_ends - at).total_seconds(), 1)
        )
        if leaf is not None
        else None,
        stats_age_s=round(max(0.0, (at - found.stats_at).total_seconds()), 1) if found.stats_at is not None else None,
        problems=tuple(_problems(found, refused, at)),
    )


def _problems(found: Examined, refused: LastRefusal | None, at: datetime) -> Iterator[str]:
    since = _instant(found.record.since)
    if not found.connected:
        yield f"not connected since {since}" if since else "has never been connected"
    if refused is not None and refused.stands:
        named = ", ".join(f"`{name}`" for name in refused.resources) or "everything"
        yield f"refused {refused.kind} {named}: {refused.said}".replace("  ", " ")
    elif found.connected and not found.in_sync:
        yield "has not acknowledged yet what it should run"
    if found.connected:
        yield from _about_certificate(found.certificates, at)
    if found.export is not None:
        yield from _about_spans(found.export)
    if found.stats_missed and (found.stats_at is None or (at - found.stats_at).total_seconds() >= PATIENCE_S):
        age = f"for {(at - found.stats_at).total_seconds():.0f} s" if found.stats_at is not None else "yet"
        yield f"its statistics have not come {age}: nothing can be judged by it"


def _about_certificate(leaf: Certificates | None, at: datetime) -> Iterator[str]:
    if leaf is None:
        yield "its certificate could not be read from its admin interface"
        return
    left = (leaf.leaf_ends - at).total_seconds()
    if left <= 0:
        yield f"its certificate ended at {_instant(leaf.leaf_ends)}"
    elif left < LATE * (leaf.leaf_ends - leaf.leaf_begins).total_seconds():
        yield f"its certificate ends at {_instant(leaf.leaf_ends)} and has not been renewed"


def _about_spans(export: SpanExport) -> Iterator[str]:
    """Spans that nobody takes are lost, and no call notices."""
    if export.connected or not export.failed:
        return
    why = ", whose certificate is not of the roots in the settings, or names another" if export.distrusted else ""
    times = "once" if export.failed == 1 else f"{export.failed} times"
    yield f"its spans are lost: it did not get through to the collector, {times}{why}"


def _instant(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at is not None else ""
