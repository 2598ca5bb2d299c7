"""The one input schema of every engine: a request for the index, or in which words it is none."""

from __future__ import annotations

from typing import Any

from policyd.api.bad_request import BadRequest
from policyd.api.question import question_from
from policyd.decisions import Request
from policyd.model.names import Name


def request_from(asked: Any) -> Request | str:
    """The question in `input`, or why it is none: what `question_from` says.

    Most questions have no more than the fields that all have; those are read here, in a third of the time.
    """
    try:
        source, destination = asked["source"], asked["destination"]
        if len(source) == len(destination) == 1 and "jwt" not in asked:
            identity, service = source["spiffe"], destination["service"]
            method, path, host = asked["method"], asked["path"], asked.get("host", "")
            if type(identity) is type(service) is type(method) is type(path) is type(host) is str:
                return Request(identity, Name.parse(service), method, path, host)
    except (TypeError, KeyError, AttributeError, IndexError):
        pass
    try:
        return question_from(asked)
    except BadRequest as error:
        return str(error)
