"""Bodies in and out: bounded, parsed once, with errors in the shape that OPA's clients know."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bad_request import BadRequest

LONGEST_BODY = 64 * 1024
"""Bytes; a question is some hundred."""


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object.

    Raises `BadRequest` for a body that is too long, is not JSON, or is not an object.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise BadRequest(f"the body is longer than {LONGEST_BODY} bytes", status=413)
    return parse_object(bytes(body)) if body.strip() else {}


def parse_object(text: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises `BadRequest` for anything else."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    return value


def answer(value: object, *, status: int = 200, pretty: bool = False) -> Response:
    """A JSON response; dataclasses are written as objects."""
    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0)
    return Response(orjson.dumps(value, option=option, default=_plain), status, media_type="application/json")


def refusal(error: BadRequest) -> Response:
    """An error as OPA writes it, and the hint where there is one."""
    hint = {"hint": error.hint} if error.hint else {}
    return answer({"code": error.code, "message": str(error), **hint}, status=error.status)


def from_a_browser() -> Response:
    """A page that a person has open could send orders to their loopback; no program sets the header `origin`."""
    return refusal(BadRequest("policyd is not steered from a browser", code="forbidden", status=403))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
