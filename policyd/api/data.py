"""`/v1/data` and `/v1/explain`: decisions, in the shape of OPA's REST API.

Path segments are looked up in a table and never become part of a query. A path that is not in it is undefined, which
OPA answers with an empty object. Missing or odd input is a denial, never an error that a caller could take for a yes.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import answer, parse_object, read_object, refusal
from policyd.api.control import Decisions
from policyd.api.documents import documents
from policyd.api.question import headers_from, question_from
from policyd.base.errors import Retry, UsageError
from policyd.decisions import Answer, Cause


class DataEndpoint:
    """Answers for one controller's decisions."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._documents = documents(_authz)

    async def data(self, request: Request) -> Response:
        """`POST` takes `{"input": ...}`, `GET` the input as a parameter; the answer is `{"result": ...}`.

        `?at=` asks for other rules than the promoted ones. `live` is there while proxies differ from the answer.
        """
        try:
            asked, wanted = await _asked(request), request.query_params
            document = self._documents.get(request.path_params.get("path", "").strip("/"))
            if document is None:
                return answer({})
            decided = await self._decide(asked, wanted.get("at", ""))
            live = {} if decided.live is None else {"live": decided.live}
            return answer({"result": document(decided), **live}, pretty="pretty" in wanted)
        except BadRequest as error:
            return refusal(error)
        except (Retry, UsageError) as error:
            return _not_answered(error)

    async def explain(self, request: Request) -> Response:
        """The same input: the decision with its rule, places and reasons, and what proxies do while they differ.

        `?at=` asks for other rules than the promoted ones, `?when=` for another instant; with `?sent` the request is
        as its caller sends it, before a rule of a route takes it: by `input.headers`, too.
        """
        try:
            asked, wanted = await _asked(request), request.query_params
            question = question_from(asked)
            question = question._replace(headers=headers_from(asked))
            told = await self._decisions.explain(
                question,
                wanted.get("at", ""),
                when=_instant(wanted.get("when")),
                logged=wanted.get("logged", ""),
                sent="sent" in wanted,
            )
            return answer(asdict(told), pretty="pretty" in wanted)
        except BadRequest as error:
            return refusal(error)
        except (Retry, UsageError) as error:
            return _not_answered(error)

    async def _decide(self, asked: Any, at: str) -> Answer:
        try:
            question = question_from(asked)
        except BadRequest as error:
            return Answer(False, "deny", "", (str(error),), cause=Cause.MALFORMED.value)
        return await self._decisions.explain(question, at)

    async def differing(self, request: Request) -> Response:
        """`GET /v1/differing`: services some of whose proxies do not decide by the promoted rules, and how many."""
        return answer({"destinations": self._decisions.differing()}, pretty="pretty" in request.query_params)


def _not_answered(error: Retry | UsageError) -> Response:
    if isinstance(error, UsageError):
        return refusal(BadRequest(str(error), hint=error.hint))
    return refusal(BadRequest(str(error), code="internal_error", status=503))


def _instant(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        at = None
    if text and (at is None or at.tzinfo is None):
        raise BadRequest("`when` is not an instant with its zone", hint="for example `2027-03-31T12:00:00Z`")
    return at


def _authz(found: Answer) -> dict[str, object]:
    return {
        "allow": found.allow,
        "outcome": found.outcome,
        "rule": found.rule,
        "status": found.status,
        "reason": found.cause,
        "would": found.would,
        "reasons": found.reasons,
        "place": found.place,
        "owner": found.owner,
        "commit": found.commit,
    }


async def _asked(request: Request) -> Any:
    """The input of a question: from the body of a `POST`, from the query of a `GET`."""
    if request.method == "POST":
        return (await read_object(request)).get("input")
    text = request.query_params.get("input")
    return parse_object(text) if text else None
