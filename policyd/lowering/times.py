"""Part of the pass `services`: times of a call that contradict each other, or that never pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.resilience import Retry, Timeout
from policyd.intents.service import Service as ServiceIntent

_HERE = ("spec", "resilience")
SLOW = frozenset({"reset", "gateway-error"})
"""The conditions that a try meets which took too long: it has no answer, so no status code either."""
_TIMEOUT = (*_HERE, "timeout")


def problems(document: Document) -> Iterator[Finding]:
    """Every pair of times of which one makes the other meaningless."""
    resilience = cast("ServiceIntent", document.intent).spec.resilience
    timeout, retries = resilience.timeout, resilience.retries
    yield from _of_bounds(document, timeout)
    yield from _of_silence(document, timeout)
    if retries is not None:
        yield from _of_back_off(document, retries, timeout)
    if timeout.per_try is not None:
        yield from _of_tries(document, retries)


def _of_tries(document: Document, retries: Retry | None) -> Iterator[Finding]:
    """Warnings: a bound of each try is a bound of the call where there is one try."""
    if retries is None or not retries.attempts:
        yield document.finding(
            "PD1237",
            "tries are bounded, and nothing is ever tried again",
            *_TIMEOUT,
            "perTry",
            hint="for example `retries: {attempts: 2, on: [connect-failure, reset]}`, or bound the `request`",
            severity=Severity.WARNING,
        )
    elif not SLOW.intersection(retries.on):
        yield document.finding(
            "PD1239",
            "a try that `perTry` ends is not made again: nothing in `on` means that one",
            *_HERE,
            "retries",
            *(("on",) if "on" in retries.model_fields_set else ()),
            hint="`reset` is a try without an answer; `gateway-error` is that, and 502, 503 and 504",
            severity=Severity.WARNING,
            at_key="on" not in retries.model_fields_set,
        )


def _of_bounds(document: Document, timeout: Timeout) -> Iterator[Finding]:
    if timeout.per_try is not None and timeout.per_try > timeout.request:
        yield document.finding(
            "PD1219",
            "one try may last longer than the whole call",
            *_TIMEOUT,
            "perTry",
            hint="`perTry` is at most `request`",
        )
    if timeout.stream is not None and timeout.stream < timeout.request:
        yield document.finding(
            "PD1235",
            "the exchange is ended before the call has had its time",
            *_TIMEOUT,
            "stream",
            hint="`stream` is at least `request`, 15s unless you say so",
        )
    shorter = "perTry" if timeout.per_try is not None else "request"
    if "connect" in timeout.model_fields_set and timeout.connect > (timeout.per_try or timeout.request):
        yield document.finding(
            "PD1235",
            "opening a connection may last longer than the call that needs it",
            *_TIMEOUT,
            "connect",
            hint=f"`connect` is at most `{shorter}`",
        )


def _of_silence(document: Document, timeout: Timeout) -> Iterator[Finding]:
    if timeout.idle < timeout.request:
        yield document.finding(
            "PD1236",
            "a call whose answer takes its time is ended by silence first",
            *_TIMEOUT,
            "idle" if "idle" in timeout.model_fields_set else "request",
            hint="`idle`, 5m unless you say so, is at least `request`",
            severity=Severity.WARNING,
        )


def _of_back_off(document: Document, retries: Retry, timeout: Timeout) -> Iterator[Finding]:
    here, wait = (*_HERE, "retries", "backOff"), retries.back_off
    if wait.base > wait.max:
        yield document.finding(
            "PD1235",
            "the wait before the first further try is longer than any wait may be",
            *here,
            "base" if "base" in wait.model_fields_set else "max",
            hint="`max`, 250ms unless you say so, is at least `base`",
        )
    elif wait.base >= timeout.request:
        yield document.finding(
            "PD1235",
            "the whole call may be over before anything is tried again",
            *here,
            "base",
            hint="`base` is a small part of `timeout.request`",
        )
