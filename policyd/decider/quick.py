"""The short way to the answers that are asked for most: whether a caller may do something, and why.

target and body of a plain `POST` -> Quick.answer -> the response, or `None`: the long way (`service`, `answers`)

It says what the long way says, to the byte but for ids and times, and leaves everything to it that is in any way
unusual: other fields, other rules than those that a look-up answers, masks, proxies that differ, nothing loaded.
"""

from __future__ import annotations

import time

import orjson

from policyd.decider.answers import DataApi
from policyd.decider.documents import utc_now
from policyd.decider.loaded import Loaded
from policyd.decisions import Cause, Request
from policyd.model.names import Name

_ALLOW, _WHOLE = b"/v1/data/policyd/authz/allow", b"/v1/data/policyd/authz"
_TARGETS = frozenset((_ALLOW, _WHOLE))
_BEFORE = b'","bundles":%b,"path":"%b","input":'


class Quick:
    """The short way into `data`."""

    def __init__(self, data: DataApi) -> None:
        self._data = data
        self._heads = data.heads
        self._ids = data.ids
        self._log = data.log
        self._open = data.log is None or data.log.masks is None
        self._of: Loaded | None = None
        self._before: dict[bytes, bytes] = {}
        """By target, what a line of the log says between the id and the input; of `_of`."""

    def answer(self, target: bytes, body: bytes, peer: bytes) -> bytes | None:
        """The response; `None` for the long way."""
        data = self._data
        loaded = data.loaded  # read once, so that the answer and its revision agree
        if target not in _TARGETS or loaded is None or data.differing or not self._open:
            return None
        started = time.perf_counter_ns()
        try:
            whole = orjson.loads(body)
            asked = whole["input"]
            source, destination = asked["source"], asked["destination"]
            if len(whole) != 1 or len(asked) != 4 or len(source) != 1 or len(destination) != 1:
                return None
            caller, service, method, path = source["spiffe"], destination["service"], asked["method"], asked["path"]
            verdict = loaded.plainly(caller, service, method, path)
        except (ValueError, TypeError, LookupError, AttributeError):
            return None  # no question, or one of another form
        if verdict is None:
            return None
        if target == _ALLOW:
            result = b"true" if verdict.cause is Cause.ALLOWED else b"false"
        else:
            result = loaded.plainly_told(verdict, Request(caller, Name.parse(service), method, path), utc_now)
        data.decided += 1
        if self._log is None:
            return self._heads.result(b"", result)
        if loaded is not self._of:
            self._of = loaded
            self._before = {each: _BEFORE % (loaded.bundles, each.removeprefix(b"/v1/data/")) for each in _TARGETS}
        decision = self._ids.next()
        said = b'%b%b,"result":%b' % (self._before[target], orjson.dumps(asked), result)
        self._log.append(decision, said, peer, time.perf_counter_ns() - started)
        return self._heads.result(decision, result)
