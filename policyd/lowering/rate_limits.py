"""Part of the pass `services`: `rateLimit` of a service, and limits that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.rate_limit import RateLimit as RateLimitIntent
from policyd.intents.service import Service as ServiceIntent
from policyd.model.access import ANY_METHOD
from policyd.model.rate_limit import RateLimit

SHORTEST_MS, LONGEST_MS = 1_000, 86_400_000


def lowered(limits: tuple[RateLimitIntent, ...]) -> tuple[RateLimit, ...]:
    """The model of what the intent says, in its order."""
    return tuple(_lowered(limit) for limit in limits)


def problems(document: Document) -> Iterator[Finding]:
    """What can never hold, says the same twice, or would never refuse anything."""
    spec = cast("ServiceIntent", document.intent).spec
    if not spec.rate_limit:
        return
    if spec.protocol == "tcp":
        yield document.finding(
            "PD1276", "`rateLimit` counts requests, and `tcp` has none", "spec", "rateLimit", at_key=True
        )
        return
    limits = lowered(spec.rate_limit)
    for number, limit in enumerate(limits):
        yield from _of_one(document, number, limit, opaque=spec.opaque_paths)
        for earlier in limits[:number]:
            if _scope(earlier) == _scope(limit) and earlier.per_ms == limit.per_ms:
                yield document.finding(
                    "PD1276",
                    "an earlier limit counts the same requests in the same time",
                    "spec",
                    "rateLimit",
                    number,
                    hint="keep the smaller one; another `per` may stand beside it",
                )
                break
    yield from _without_effect(document, limits)


def _lowered(intent: RateLimitIntent) -> RateLimit:
    methods = (
        (ANY_METHOD,) if ANY_METHOD in intent.methods or not intent.methods else tuple(sorted(set(intent.methods)))
    )
    return RateLimit(
        requests=intent.requests,
        per_ms=intent.per,
        burst=intent.burst or intent.requests,
        each_caller=intent.each == "caller",
        methods=methods,
        paths=tuple(sorted(set(intent.paths), key=str)),
    )


def _of_one(document: Document, number: int, limit: RateLimit, *, opaque: bool) -> Iterator[Finding]:
    here = ("spec", "rateLimit", number)
    if not SHORTEST_MS <= limit.per_ms <= LONGEST_MS:
        yield document.finding(
            "PD1276",
            "a rate limit counts in a second at least, and in a day at most",
            *here,
            "per",
            hint="`{requests: 20, per: 1s}` is as much as two in 100 ms",
        )
    if opaque and limit.paths:
        yield document.finding(
            "PD1276",
            "the service's paths are opaque: nobody looks at them, so that no limit can name one",
            *here,
            "paths",
            hint="limit the service as a whole, or its methods",
        )


def _without_effect(document: Document, limits: tuple[RateLimit, ...]) -> Iterator[Finding]:
    """A limit for each caller is of no use where all together may not have more."""
    for number, own in enumerate(limits):
        shared = (each for each in limits if not each.each_caller and _scope(each)[1:] == _scope(own)[1:])
        if own.each_caller and any(each.token_ms >= own.token_ms and each.burst <= own.burst for each in shared):
            yield document.finding(
                "PD1277",
                "all callers together have no more than this limit leaves to each of them",
                "spec",
                "rateLimit",
                number,
                hint="give each caller less than all of them have",
                severity=Severity.WARNING,
            )


def _scope(limit: RateLimit) -> tuple[object, ...]:
    return limit.each_caller, limit.methods, limit.paths
