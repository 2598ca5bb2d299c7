"""Reads the counters of Envoy sidecars from their admin interfaces.

Which counters say what, as seen on Envoy 1.40 (`tests/telemetry/test_envoy.py` holds it to this):
- `cluster.<name>.upstream_rq_completed` and `upstream_rq_5xx` count final outcomes at the caller. An attempt that
  was tried again is counted under `cluster.<name>.retry.` instead; `upstream_rq_total` counts every attempt.
- `upstream_rq_time` times final answers of the upstream, in milliseconds; its buckets move at the stats flush.
- `http.inbound.rbac.denied` counts denials of the access rules, on every inbound listener; requests refused for
  not being canonical are counted under a prefix of their own.
- Of gRPC the same is told by `cluster.<name>.grpc.<status>` (`policyd.telemetry.grpc`).
- `cluster.<name>.upstream_rq_401` and `..._403` count final answers too: the callee's sidecar denied, or its
  application did; the two look alike from here.
- `cluster.<name>.upstream_rq_retry` counts further attempts; `cluster.<name>.circuit_breakers.default.rq*_open` and
  `...outlier_detection.ejections_active` are states of this moment. `cx_open` is none of them: one connection carries
  all, so a bound of one is always reached.
- `http.inbound.rbac.policy.RULE.allowed` counts requests that a rule let in, by its name in logs, without callers.
- `http.inbound.rbac.policy.REASON.denied` counts those denials by the reason, without callers.
- A cluster that leads on to fallbacks (`.../failover`) counts the outcomes of all its requests, whoever answered; its
  members count none. Where only requests go that were led on (`.../failover/...`), `upstream_rq_total` counts these.
- `http.outbound.rbac.policy.` counts the same two of requests that leave the mesh, over all hosts outside.
- `http.outbound.rq_direct_response` counts requests for hosts out of scope, which nothing else answers there; by host
  there are only log lines.
- `http.inbound.rbac.policy.would-allow RULE.shadow_allowed` and `...would-deny RULE.shadow_denied` count requests of
  which the would-be rules say something else than the decision, by the rule that makes the difference.

Values are read as JSON, in which they are whole integers, and only those that were used and are asked for: the
cost follows the traffic of a sidecar, not the size of its configuration.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson
import structlog

from policyd.base.clock import Clock
from policyd.compiler.naming import FAILOVER, INBOUND, OUTBOUND, parse_fallback_name
from policyd.compiler.rules import (
    NO_RULE_FOR_CALLER,
    NO_RULE_FOR_REQUEST,
    NO_VALID_TOKEN,
    REVOKED,
    WOULD_ALLOW,
    WOULD_DENY,
)
from policyd.telemetry import grpc
from policyd.telemetry.admin import Admins
from policyd.telemetry.source import Buckets, ClusterCounters, NodeCounters, Reading

DEADLINE_S = 0.8
"""How long a sidecar may take to answer; less than one tick, so that a stuck one cannot delay the others."""
AT_ONCE = 64
"""Sidecars that are asked at the same time. Whatever else the process does waits for no more than these."""

_REASONS = "|".join((NO_RULE_FOR_CALLER, NO_RULE_FOR_REQUEST, NO_VALID_TOKEN, REVOKED))
_DIRECT = f"http.{OUTBOUND}.rq_direct_response"
FILTER = (
    rf"^(cluster\.[^.]+\.({grpc.FILTER}|upstream_rq_(completed|401|403|5xx|time|retry|active)"
    r"|circuit_breakers\.default\.rq[a-z_]*_open|outlier_detection\.ejections_active)"
    rf"|cluster\.[^.]+/{FAILOVER}/[^.]+\.upstream_rq_total"
    rf"|http\.{OUTBOUND}\.rq_direct_response"
    rf"|http\.{OUTBOUND}\.rbac\.policy\.(({_REASONS})\.denied|[^.#]+#[0-9a-f]+\.allowed)"
    rf"|http\.{INBOUND}\.(downstream_rq_completed|rbac\.(denied|policy\.(({_REASONS})\.denied"
    r"|[^.#]+#[0-9a-f]+\.allowed|would-[^.]+\.shadow_(allowed|denied)))))$"
)
"""Which counters are asked for, as Envoy's admin interface takes it."""
_STAT = re.compile(
    r"cluster\.(?P<cluster>[^.]+)\.(?P<what>upstream_rq_(completed|401|403|5xx|time|total|retry|active))"
)
_OPEN = re.compile(r"cluster\.(?P<cluster>[^.]+)\.circuit_breakers\.default\.rq[a-z_]*_open")
_ALLOWED = re.compile(rf"http\.({INBOUND}|{OUTBOUND})\.rbac\.policy\.(?P<rule>[^.#]+#[0-9a-f]+)\.allowed")
_DENIED = re.compile(rf"http\.{INBOUND}\.rbac\.policy\.(?P<reason>{_REASONS})\.denied")
_KEPT_IN = re.compile(rf"http\.{OUTBOUND}\.rbac\.policy\.(?P<reason>{_REASONS})\.denied")
_WOULD = re.compile(
    rf"http\.{INBOUND}\.rbac\.policy\.(?P<would>({WOULD_ALLOW}|{WOULD_DENY}) [^.]+)\.shadow_(allowed|denied)"
)
_QUERY = {"format": "json", "usedonly": "", "histogram_buckets": "cumulative", "filter": FILTER}


class EnvoyStats:
    """A `MetricSource` over the admin interfaces in `admins`: node id -> `http://host:port` or `unix:/path`.

    The mapping is read anew at every reading, so its owner may change it. `aclose` closes the connections.
    """

    def __init__(self, admins: Mapping[str, str], clock: Clock, deadline_s: float = DEADLINE_S) -> None:
        self._admins = Admins(admins, deadline_s)
        self._clock = clock
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._log = structlog.get_logger("telemetry")

    async def read(self, nodes: Sequence[str]) -> Reading:
        """The counters of those nodes that have a known admin address and answered in time."""
        known = [node for node in nodes if node in self._admins]
        answers = await asyncio.gather(*(self._read_node(node) for node in known))
        found = {node: counters for node, counters in zip(known, answers, strict=True) if counters is not None}
        return Reading(self._clock.monotonic(), found)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._admins.aclose()

    async def _read_node(self, node: str) -> NodeCounters | None:
        try:
            async with self._slots, asyncio.timeout(self._deadline_s):
                response = await self._admins.client(node).get("/stats", params=_QUERY)
                response.raise_for_status()
            return parse_stats(response.content)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self._log.debug("stats not read", node=node, error=repr(error))
            return None


def parse_stats(body: bytes) -> NodeCounters:
    """Read `/stats?format=json&histogram_buckets=cumulative`.

    Raises `ValueError` where the body is not of that shape: a half-read node must not look like a quiet one.
    """
    document = orjson.loads(body)
    try:
        values, histograms = _flatten(document["stats"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the statistics of an Envoy: {error!r}") from error
    opened = Counter[str]()
    for match in filter(None, map(_OPEN.fullmatch, values)):
        opened[match["cluster"]] += values[match.string]
    named = {match["cluster"] for match in map(_STAT.fullmatch, [*values, *histograms]) if match}
    called_in_grpc = grpc.ended(values)
    clusters = {}
    for cluster in sorted(named | opened.keys()):
        completed = values.get(f"cluster.{cluster}.upstream_rq_completed", 0)
        errors = values.get(f"cluster.{cluster}.upstream_rq_5xx", 0)
        refused = sum(values.get(f"cluster.{cluster}.upstream_rq_{code}", 0) for code in (401, 403))
        if (statuses := called_in_grpc.get(cluster)) is not None:
            completed, errors, refused = grpc.outcomes(statuses, errors, refused)
        clusters[cluster] = ClusterCounters(
            completed=completed,
            errors=errors,
            latency=histograms.get(f"cluster.{cluster}.upstream_rq_time"),
            led_on=values.get(f"cluster.{cluster}.upstream_rq_total", 0) if parse_fallback_name(cluster) else 0,
            refused=refused,
            retries=values.get(f"cluster.{cluster}.upstream_rq_retry", 0),
            open_circuits=opened[cluster],
            left_out=values.get(f"cluster.{cluster}.outlier_detection.ejections_active", 0),
            active=values.get(f"cluster.{cluster}.upstream_rq_active", 0),
        )
    return NodeCounters(
        clusters=clusters,
        inbound_requests=values.get(f"http.{INBOUND}.downstream_rq_completed", 0),
        inbound_denied=values.get(f"http.{INBOUND}.rbac.denied", 0),
        would={match["would"]: values[match.string] for match in map(_WOULD.fullmatch, values) if match},
        denied={match["reason"]: values[match.string] for match in map(_DENIED.fullmatch, values) if match},
        allowed={match["rule"]: values[match.string] for match in map(_ALLOWED.fullmatch, values) if match},
        not_in_scope=values.get(_DIRECT, 0),
        kept_in={match["reason"]: values[match.string] for match in map(_KEPT_IN.fullmatch, values) if match},
    )


def _flatten(stats: list[dict[str, Any]]) -> tuple[dict[str, int], dict[str, Buckets]]:
    values: dict[str, int] = {}
    histograms: dict[str, Buckets] = {}
    for stat in stats:
        if "histograms" in stat:
            histograms.update({found["name"]: _buckets(found["buckets"]) for found in stat["histograms"]})
        else:
            values[stat["name"]] = int(stat["value"])
    return values, histograms


def _buckets(found: list[dict[str, Any]]) -> Buckets:
    # The last bound is the largest that Envoy keeps (an hour by default); slower answers are in no bucket.
    bounds = tuple(float(bucket["upper_bound"]) for bucket in found)
    counts = tuple(int(bucket["cumulative"]) for bucket in found)
    return Buckets((*bounds, math.inf), (*counts, counts[-1] if counts else 0))
