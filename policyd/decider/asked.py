"""The one input schema of every engine, read: a request for the index, or in which words it is none."""

from __future__ import annotations

from typing import Any

from policyd.decisions import Request
from policyd.model.names import Name


def request_from(asked: Any) -> Request | str:
    """The question in `input`, or why it is none: the first field that is missing or not a string."""
    try:
        source, service = asked["source"]["spiffe"], asked["destination"]["service"]
        method, path = asked["method"], asked["path"]
        host = asked.get("host", "")
    except (TypeError, KeyError, AttributeError, IndexError):
        return _first_fault(asked)
    if not (type(source) is type(service) is type(method) is type(path) is type(host) is str):
        return _first_fault(asked)
    return Request(source, Name.parse(service), method, path, host)


_FIELDS = (("source", "spiffe"), ("destination", "service"), ("method",), ("path",), ("host",))


def _first_fault(asked: Any) -> str:
    if not isinstance(asked, dict):
        return "`input` is not an object"
    for keys in _FIELDS:
        value: Any = asked
        if keys == ("host",) and "host" not in asked:
            continue
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str):
            return f"`input.{'.'.join(keys)}` is not a string"
    return "`input` is not a question"
