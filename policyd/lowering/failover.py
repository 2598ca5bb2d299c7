"""Part of the pass `services`: `failover` of a service, and what the service alone shows to be wrong with it.

What it takes two services to see is in `fallbacks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.failover import Fallback as FallbackIntent
from policyd.intents.service import Service as ServiceIntent
from policyd.intents.service import ServiceSpec
from policyd.intents.translate import nearest
from policyd.model.failover import OTHER_ZONES, Fallback
from policyd.model.names import Name

_HERE = ("spec", "failover")


def lowered(intents: Sequence[FallbackIntent], namespace: str) -> tuple[Fallback, ...]:
    """The model of what the intent says, in its order."""
    return tuple(
        Fallback(
            version=intent.version or "",
            service=Name.parse(intent.service, namespace) if intent.service is not None else None,
            zone=intent.zone or "",
        )
        for intent in intents
    )


def problems(document: Document) -> Iterator[Finding]:
    """What contradicts itself, or would never do anything."""
    spec = cast("ServiceIntent", document.intent).spec
    if not spec.failover:
        return
    fallbacks = lowered(spec.failover, document.name.namespace)
    for number, fallback in enumerate(fallbacks):
        if fallback in fallbacks[:number]:
            yield document.finding(
                "PD1249", "this fallback stands here twice", *_HERE, number, hint="keep the first of them"
            )
        elif fallback.service == document.name:
            yield document.finding(
                "PD1240",
                f"`{document.name.name}` is its own fallback",
                *_HERE,
                number,
                "service",
                hint="name another service, or another version of this one: `{version: v1}`",
            )
        elif fallback.version:
            yield from _of_version(document, spec, fallback.version, number)
        elif fallback.zone:
            yield from _of_zone(document, spec, fallback.zone, number)
    yield from _of_the_way(document, spec)


def _of_version(document: Document, spec: ServiceSpec, version: str, number: int) -> Iterator[Finding]:
    if version not in spec.versions:
        yield document.finding(
            "PD1204",
            f"`{document.name.name}` has no version `{version}`",
            *_HERE,
            number,
            "version",
            hint=nearest(version, sorted(spec.versions)),
        )
    elif version == spec.version:
        yield document.finding(
            "PD1241",
            f"`{version}` is the version that serves: there is nothing to go on at",
            *_HERE,
            number,
            "version",
            hint="name another version, or take the line away while this one serves",
            severity=Severity.WARNING,
        )


def _of_zone(document: Document, spec: ServiceSpec, zone: str, number: int) -> Iterator[Finding]:
    zones = {endpoint.zone for version in spec.versions.values() for endpoint in version.endpoints}
    known = sorted(each for each in zones if each is not None)
    if zone == OTHER_ZONES:
        if len(known) < 2:
            yield document.finding(
                "PD1242",
                f"`{document.name.name}` has instances in {f'zone `{known[0]}` alone' if known else 'no zone'}: "
                "no other one is there to go on at",
                *_HERE,
                number,
                "zone",
                hint="say where each instance runs: `{address: 10.0.1.12, zone: b}`",
                severity=Severity.WARNING,
            )
    elif zone not in known:
        yield document.finding(
            "PD1242",
            f"`{document.name.name}` has no instance in zone `{zone}`",
            *_HERE,
            number,
            "zone",
            hint=nearest(zone, [*known, OTHER_ZONES]) or f"its zones: {', '.join(f'`{each}`' for each in known)}"
            if known
            else "say where each instance runs: `{address: 10.0.1.12, zone: b}`",
        )


def _of_the_way(document: Document, spec: ServiceSpec) -> Iterator[Finding]:
    if spec.health_check is None:
        yield document.finding(
            "PD1248",
            f"without a health check only lost calls tell that `{document.name.name}` is down, or back",
            *_HERE,
            at_key=True,
            hint="for example `healthCheck: {path: /healthz, interval: 1s}`",
            severity=Severity.WARNING,
        )
    breaker, retries = spec.resilience.circuit_breaker, spec.resilience.retries
    if breaker is not None and breaker.retries is not None:
        yield _bounded(document, f"at most {breaker.retries} further tries at once", "circuitBreaker", "retries")
    elif retries is not None and "budget" in retries.model_fields_set:
        yield document.finding(
            "PD1247",
            "`retries.budget` does not hold here: in an outage every call is tried again, to go on elsewhere",
            *("spec", "resilience", "retries", "budget"),
            hint="take it away; each call is still tried a bounded number of times",
            severity=Severity.WARNING,
        )


def _bounded(document: Document, bound: str, *path: str) -> Finding:
    return document.finding(
        "PD1247",
        f"{bound} is too little for an outage, in which every call is tried again to go on elsewhere",
        *("spec", "resilience", *path),
        hint="leave `circuitBreaker.retries` out: each call is still tried a bounded number of times",
        severity=Severity.WARNING,
    )
