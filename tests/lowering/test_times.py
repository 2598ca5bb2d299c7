"""Times of a call that contradict each other, at their places."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.lowering import Lowered
from policyd.model.names import Name
from policyd.model.resilience import Retries, Timeouts

LowerFiles = Callable[..., Lowered]
TIMEOUT = "timeout: {request: 2s, perTry: 600ms}"
RETRIES = "retries: {attempts: 2, on: [503, reset], budget: 20%}"


def test_all_of_them(lower_with: LowerFiles) -> None:
    lowered = lower_with(
        (TIMEOUT, "timeout: {request: 2s, perTry: 600ms, stream: 1h}"),
        (RETRIES, "retries: {attempts: 2, on: [reset], methods: [GET], backOff: {base: 50ms, max: 1s}}"),
    )
    assert lowered.mesh is not None
    resilience = lowered.mesh.services[Name("default", "checkout")].resilience
    assert resilience.timeouts == Timeouts(request_ms=2_000, per_try_ms=600, stream_ms=3_600_000)
    assert resilience.retries == Retries(2, ("reset",), ("GET",), base_ms=50, max_ms=1_000)


# what stands in place of what, code, what is underlined, message, part of the hint
CASES = [
    (TIMEOUT, "timeout: {request: 20s, stream: 19s}", "PD1235", "19s", "before the call has had its time", "15s"),
    (TIMEOUT, "timeout: {connect: 3s, request: 2s}", "PD1235", "3s", "opening a connection", "at most `request`"),
    (TIMEOUT, "timeout: {connect: 1s, perTry: 600ms}", "PD1235", "1s", "opening a connection", "at most `perTry`"),
    (RETRIES, "retries: {attempts: 1, backOff: {base: 251ms}}", "PD1235", "251ms", "longer than any wait", "250ms"),
    (RETRIES, "retries: {attempts: 1, backOff: {max: 24ms}}", "PD1235", "24ms", "longer than any wait", "`base`"),
    (RETRIES, "retries: {attempts: 1, backOff: {base: 2s, max: 3s}}", "PD1235", "2s", "may be over before", "part"),
    (TIMEOUT, "timeout: {request: 10m}", "PD1236", "10m", "ended by silence first", "5m unless you say so"),
    (TIMEOUT, "timeout: {request: 2s, idle: 1s}", "PD1236", "1s", "ended by silence first", "at least `request`"),
    (RETRIES, "retries: {attempts: 0}", "PD1237", "600ms", "nothing is ever tried again", "attempts: 2"),
    (
        RETRIES,
        "retries: {attempts: 2, on: [503, 504]}",
        "PD1239",
        "[503, 504]",
        "is not made again",
        "`gateway-error`",
    ),
    (RETRIES, "retries: {attempts: 2}", "PD1239", "retries", "is not made again", "`reset`"),
]


@pytest.mark.parametrize(("old", "new", "code", "meant", "message", "hint"), CASES)
def test_each_finding(
    lower_with: LowerFiles, old: str, new: str, code: str, meant: str, message: str, hint: str
) -> None:
    lowered = lower_with((old, new))
    (finding,) = (each for each in lowered.findings if each.code == code)
    begin = finding.location.column - 1
    assert message in finding.message
    assert finding.excerpt[begin : begin + finding.width] == meant
    assert hint in finding.hint
    assert (lowered.mesh is None) == finding.is_error


@pytest.mark.parametrize("timeout", ["timeout: {perTry: 600ms}", "timeout: {request: 2s, stream: 2s, connect: 2s}"])
def test_what_fits_is_no_finding(lower_with: LowerFiles, timeout: str) -> None:
    """A default that is longer than what was said contradicts nobody: the shorter one holds."""
    lowered = lower_with((TIMEOUT, timeout), (RETRIES, "retries: {attempts: 2, on: [gateway-error]}"))
    assert not [each for each in lowered.findings if each.code in {"PD1219", "PD1235", "PD1236", "PD1237", "PD1239"}]
