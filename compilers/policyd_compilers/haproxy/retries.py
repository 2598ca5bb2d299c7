"""When a failed call is made again: HAProxy's words for the conditions of an intent."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.model.resilience import Retries

_NOT_SENT = ("conn-failure",)
_NO_ANSWER = ("conn-failure", "empty-response", "response-timeout")
WORDS = {
    "connect-failure": _NOT_SENT,
    "reset": _NO_ANSWER,
    "gateway-error": (*_NO_ANSWER, "502", "503", "504"),
    # A stream that a peer refuses: HAProxy opens another connection before it meets a peer's limit, so that there is
    # no word for it. `losses` says so.
    "refused-stream": (),
}
"""The conditions that an intent can name. A lost connection and a gateway's own error count as each other, as they do
in Envoy's `gateway-error`."""
STATUSES = frozenset({"401", "403", "404", "408", "425", "500", "501", "502", "503", "504"})
"""The status codes that HAProxy can try again on."""


def rules(retries: Retries) -> Iterator[str]:
    """The lines of a backend. A connection that failed is tried again whatever the method: nothing was sent."""
    words = sorted({word for condition in retries.on for word in _words(condition)})
    if not retries.attempts or not words or not retries.methods:
        yield "retries 0"
        return
    yield f"retries {retries.attempts}"
    yield f"retry-on {' '.join(words)}"
    yield "option redispatch 1"
    if words != ["conn-failure"]:
        yield f"http-request disable-l7-retry unless {{ method {' '.join(sorted(set(retries.methods)))} }}"


def known(condition: str) -> bool:
    """Whether HAProxy has words for a condition."""
    return condition in WORDS or condition in STATUSES


def _words(condition: str) -> tuple[str, ...]:
    return (condition,) if condition in STATUSES else WORDS.get(condition, ())
