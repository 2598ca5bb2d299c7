"""`/v1/data` and `/v1/explain`: decisions, in the shape of OPA's REST API.

Path segments are looked up in a table and never become part of a query. A path that is not in it is undefined, which
OPA answers with an empty object. Missing or odd input is a denial, never an error that a caller could take for a yes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bodies import BadRequest, answer, parse_object, read_object, refusal
from policyd.api.control import Answer, Decisions, Question
from policyd.base.errors import Retry


class DataEndpoint:
    """Answers for one controller's decisions."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._documents: Mapping[tuple[str, ...], Callable[[Answer], object]] = {
            (): lambda a: {"policyd": {"authz": _authz(a)}},
            ("policyd",): lambda a: {"authz": _authz(a)},
            ("policyd", "authz"): _authz,
            ("policyd", "authz", "allow"): lambda a: a.allow,
        }

    async def data(self, request: Request) -> Response:
        """`POST` takes `{"input": ...}`, `GET` the input as a parameter; the answer is `{"result": ...}`."""
        try:
            asked = await _asked(request)
            path = request.path_params.get("path", "").strip("/")
            document = self._documents.get(tuple(path.split("/")) if path else ())
            if document is None:
                return answer({})
            return answer({"result": document(self._decide(asked))}, pretty="pretty" in request.query_params)
        except BadRequest as error:
            return refusal(error)
        except Retry as error:
            return refusal(BadRequest(str(error), code="internal_error", status=503))

    async def explain(self, request: Request) -> Response:
        """The same input: the decision with its rule, place and reasons."""
        try:
            question = question_from(await _asked(request))
            return answer(asdict(self._decisions.decide(question)), pretty="pretty" in request.query_params)
        except BadRequest as error:
            return refusal(error)
        except Retry as error:
            return refusal(BadRequest(str(error), code="internal_error", status=503))

    def _decide(self, asked: Any) -> Answer:
        try:
            question = question_from(asked)
        except BadRequest as error:
            return Answer(False, "deny", "", (str(error),))
        return self._decisions.decide(question)


def _authz(found: Answer) -> dict[str, object]:
    return {"allow": found.allow, "outcome": found.outcome, "rule": found.rule}


def question_from(asked: Any) -> Question:
    """Read the one input schema of every engine. Raises `BadRequest` naming the first field that is wrong."""
    if not isinstance(asked, dict):
        raise BadRequest("`input` is not an object")
    return Question(
        source=_text(asked, "source", "spiffe"),
        service=_text(asked, "destination", "service"),
        method=_text(asked, "method"),
        path=_text(asked, "path"),
        host=_text(asked, "host") if "host" in asked else "",
    )


def _text(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise BadRequest(f"`input.{'.'.join(keys)}` is not a string")
    return value


async def _asked(request: Request) -> Any:
    """The input of a question: from the body of a `POST`, from the query of a `GET`."""
    if request.method == "POST":
        return (await read_object(request)).get("input")
    text = request.query_params.get("input")
    return parse_object(text) if text else None
