"""The short way to the answer that is asked for most: whether a caller may do something.

target and body of a plain `POST` -> Quick.answer -> the response, or `None`: the long way (`service`, `answers`)

It says what the long way says, to the byte but for ids and times, and leaves everything to it that is in any way
unusual: other fields, other rules than those that a look-up answers, masks, proxies that differ, nothing loaded.
"""

from __future__ import annotations

import time

import orjson

from policyd.decider.answers import DataApi
from policyd.decider.loaded import Loaded
from policyd.decisions import Cause

_ALLOW = b"/v1/data/policyd/authz/allow"


class Quick:
    """The short way into `data`."""

    def __init__(self, data: DataApi) -> None:
        self._data = data
        self._heads = data.heads
        self._ids = data.ids
        self._log = data.log
        self._open = data.log is None or data.log.masks is None
        self._of: Loaded | None = None
        self._before = b""
        """What a line of the log says between the id and the input, of `_of`."""

    def answer(self, target: bytes, body: bytes, peer: bytes) -> bytes | None:
        """The response; `None` for the long way."""
        data = self._data
        loaded = data.loaded  # read once, so that the answer and its revision agree
        if target != _ALLOW or loaded is None or data.differing or not self._open:
            return None
        started = time.perf_counter_ns()
        try:
            whole = orjson.loads(body)
            asked = whole["input"]
            source, destination = asked["source"], asked["destination"]
            if len(whole) != 1 or len(asked) != 4 or len(source) != 1 or len(destination) != 1:
                return None
            verdict = loaded.plainly(source["spiffe"], destination["service"], asked["method"], asked["path"])
        except (ValueError, TypeError, LookupError, AttributeError):
            return None  # no question, or one of another form
        if verdict is None:
            return None
        data.decided += 1
        allowed = verdict.cause is Cause.ALLOWED
        log = self._log
        if log is None:
            return self._heads.ok + (b'16\r\n\r\n{"result":true}\n' if allowed else b'17\r\n\r\n{"result":false}\n')
        if loaded is not self._of:
            self._of = loaded
            self._before = b'","bundles":%b,"path":"policyd/authz/allow","input":' % loaded.bundles
        decision = self._ids.next()
        said = self._before + orjson.dumps(asked) + (b',"result":true' if allowed else b',"result":false')
        log.append(decision, said, peer, time.perf_counter_ns() - started)
        if allowed:
            return b'%b69\r\n\r\n{"decision_id":"%b","result":true}\n' % (self._heads.ok, decision)
        return b'%b70\r\n\r\n{"decision_id":"%b","result":false}\n' % (self._heads.ok, decision)
