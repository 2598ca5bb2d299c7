"""Part of the pass `services`: `loadBalancing` and `panicThreshold`, and what in them cannot hold together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.balancing import LoadBalancing as BalancingIntent
from policyd.intents.balancing import RingSize
from policyd.intents.service import Service as ServiceIntent
from policyd.intents.service import ServiceSpec
from policyd.lowering.headers import unseen
from policyd.model.balancing import BY_KEY, Key, LoadBalancing, Policy, SlowStart, ZonePreference
from policyd.model.service import Service

_HERE = ("spec", "resilience", "loadBalancing")
_EVENLY = frozenset({Policy.LEAST_REQUEST, Policy.ROUND_ROBIN})
"""What can give an instance less than its share."""


def lowered(intent: BalancingIntent | None) -> LoadBalancing:
    """The model of what the intent says; sizes that no policy looks at stay as they are by default."""
    if intent is None:
        return LoadBalancing()
    ring, zone, slow = intent.ring_size or RingSize(), intent.prefer_zone, intent.slow_start
    return LoadBalancing(
        policy=Policy(intent.policy),
        key=Key(intent.hash.header or "", intent.hash.cookie or "") if intent.hash is not None else None,
        ring=(ring.min, ring.max),
        table=intent.table_size or LoadBalancing().table,
        zone=ZonePreference(zone.min_instances, zone.min_healthy) if zone is not None else None,
        slow_start=SlowStart(slow.window, round(slow.aggression * 1_000)) if slow is not None else None,
    )


def problems(document: Document) -> Iterator[Finding]:
    """What contradicts itself, cannot be made, or would never do anything."""
    spec = _spec(document)
    resilience, balancing = spec.resilience, spec.resilience.load_balancing
    if balancing is not None:
        yield from _of_policy(document, balancing)
        yield from _of_sizes(document, balancing)
        yield from _of_zones(document, balancing)
    if resilience.panic_threshold and spec.health_check is None and resilience.outlier_detection is None:
        yield document.finding(
            "PD1234",
            "no instance is ever found to be unhealthy: there is nothing to panic about",
            "spec",
            "resilience",
            "panicThreshold",
            hint="give the service a `healthCheck` or `outlierDetection`",
            severity=Severity.WARNING,
        )


def _of_policy(document: Document, balancing: BalancingIntent) -> Iterator[Finding]:
    policy = Policy(balancing.policy)
    if policy in BY_KEY and balancing.hash is None:
        yield document.finding(
            "PD1230",
            f"`{policy.value}` needs something of a request to go by",
            *_HERE,
            "policy",
            hint="for example `hash: {header: x-user}`",
        )
    if policy not in BY_KEY and balancing.hash is not None:
        yield document.finding(
            "PD1230",
            f"`{policy.value}` does not look at requests",
            *_HERE,
            "hash",
            hint="`policy: ringHash` or `policy: maglev` does",
        )
    if balancing.hash is not None and balancing.hash.header and (why := unseen(balancing.hash.header)):
        message = f"no request can be known by the header `{balancing.hash.header}`"
        yield document.finding("PD1259", message, *_HERE, "hash", "header", hint=why)
    owners = {"ringSize": (balancing.ring_size, Policy.RING_HASH), "tableSize": (balancing.table_size, Policy.MAGLEV)}
    for field, (said, owner) in owners.items():
        if said is not None and policy is not owner:
            yield document.finding(
                "PD1230",
                f"`{policy.value}` has no `{field}`",
                *_HERE,
                field,
                hint=f"it belongs to `policy: {owner.value}`",
            )
    if balancing.slow_start is not None and policy not in _EVENLY:
        yield document.finding(
            "PD1230",
            f"`{policy.value}` gives every instance its whole share at once",
            *_HERE,
            "slowStart",
            hint="`leastRequest` and `roundRobin` can start an instance slowly",
        )


def _of_sizes(document: Document, balancing: BalancingIntent) -> Iterator[Finding]:
    ring, table = balancing.ring_size, balancing.table_size
    if ring is not None and ring.min > ring.max:
        yield document.finding(
            "PD1231",
            f"no ring has {ring.min} places at least and {ring.max} at most",
            *_HERE,
            "ringSize",
            "min" if "min" in ring.model_fields_set else "max",
            hint="`min`, 1024 unless you say so, is at most `max`",
        )
    if table is not None and not _prime(table):
        yield document.finding(
            "PD1231",
            f"{table} is not a prime number",
            *_HERE,
            "tableSize",
            hint=f"the next one is {next(number for number in range(table, 2 * table) if _prime(number))}",
        )
    places = {"ringSize": ring.max if ring is not None else None, "tableSize": table}
    largest = max(len(version.endpoints) for version in _spec(document).versions.values())
    for field, number in places.items():
        if number is not None and number < largest:
            yield document.finding(
                "PD1231",
                f"{largest} instances do not find a place each among {number}",
                *_HERE,
                field,
                hint="a hundred places for each instance make even shares",
            )


def _of_zones(document: Document, balancing: BalancingIntent) -> Iterator[Finding]:
    """Warnings: instances come and go, and so do their zones."""
    prefer, spec = balancing.prefer_zone, _spec(document)
    if prefer is None:
        return
    endpoints = spec.versions[spec.version].endpoints if spec.version in spec.versions else ()
    zones = [endpoint.zone for endpoint in endpoints if endpoint.zone is not None]
    largest = max((zones.count(zone) for zone in zones), default=0)
    said = hint = ""
    if endpoints and len(set(zones)) < 2:
        said = f"`{spec.version}` has instances in one zone only" if zones else "no instance says its zone"
        hint = "for example `endpoints: [{address: 10.0.1.12, zone: b}]`"
    elif endpoints and largest < prefer.min_instances:
        said = f"no zone has {prefer.min_instances} instances of `{spec.version}`: none is preferred"
        hint = f"the largest has {largest}"
    elif spec.health_check is None and spec.resilience.outlier_detection is None:
        said = "nobody finds out that a zone is weak: calls do not overflow"
        hint = "give the service a `healthCheck` or `outlierDetection`"
    if said:
        yield document.finding(
            "PD1233", said, *_HERE, "preferZone", hint=hint, severity=Severity.WARNING, at_key=True
        )
    if Policy(balancing.policy) in BY_KEY:
        yield document.finding(
            "PD1232",
            "callers of different zones send one key to different instances",
            *_HERE,
            "preferZone",
            hint="leave out `preferZone` if one key must meet one instance",
            severity=Severity.WARNING,
            at_key=True,
        )


def by_key(document: Document, service: Service) -> Finding | None:
    """What the steps of a canary mean for a service whose calls go by a key: a split draws by the key, too."""
    balancing = service.resilience.load_balancing
    if balancing.policy not in BY_KEY or balancing.key is None:
        return None
    key = f"header `{balancing.key.header}`" if balancing.key.header else f"cookie `{balancing.key.cookie}`"
    return document.finding(
        "PD1232",
        f"calls to `{service.name.name}` go by the {key}: a step takes a share of its values, not of the requests",
        "spec",
        "steps",
        hint="one value meets one version at each step; a few busy values make uneven shares",
        severity=Severity.WARNING,
    )


def _spec(document: Document) -> ServiceSpec:
    return cast("ServiceIntent", document.intent).spec


def _prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
