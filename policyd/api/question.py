"""The one input schema of every engine, read strictly: what is odd is no question and can be no yes."""

from __future__ import annotations

from typing import Any

from policyd.api.bad_request import BadRequest
from policyd.decisions import NO_TOKEN, Request, Token, TokenState
from policyd.model.names import Name

_STATES = {state.value: state for state in TokenState}


def question_from(asked: Any) -> Request:
    """The request in `input`. Raises `BadRequest` naming the first field that is wrong."""
    if not isinstance(asked, dict):
        raise BadRequest("`input` is not an object")
    return Request(
        source=_text(asked, "source", "spiffe"),
        destination=Name.parse(_text(asked, "destination", "service")),
        method=_text(asked, "method"),
        path=_text(asked, "path"),
        host=_text(asked, "host") if "host" in asked else "",
        ip=ip if isinstance(ip := asked["source"].get("ip"), str) else "",
        port=_port(asked["destination"]["port"]) if "port" in asked["destination"] else None,
        token=_token(asked.get("jwt")),
    )


def headers_from(asked: dict[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """What the request brings, `[[name, value], ...]` or `{name: value}`; `None` where the question does not say.

    Raises `BadRequest` for anything else.
    """
    said = asked.get("headers")
    pairs = list(said.items()) if isinstance(said, dict) else said
    if pairs is None:
        return None
    if not isinstance(pairs, list) or not all(_is_pair(each) for each in pairs):
        raise BadRequest("`input.headers` is not a list of names and values")
    return tuple((name.lower(), value) for name, value in pairs)


def _is_pair(said: Any) -> bool:
    return isinstance(said, list | tuple) and len(said) == 2 and all(isinstance(each, str) for each in said)


def _text(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise BadRequest(f"`input.{'.'.join(keys)}` is not a string")
    return value


def _port(value: Any) -> int:
    """A whole number, in whatever spelling: `8080.0` is the same one to JSON, and to OPA."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        raise BadRequest("`input.destination.port` is not a port")
    return int(value)


def _token(said: Any) -> Token:
    """What is odd about a token makes it no valid one; it is no reason to refuse what needs none."""
    if said is None:
        return NO_TOKEN
    fields = said if isinstance(said, dict) else {}
    state, issuer, claims = fields.get("state"), fields.get("issuer"), fields.get("claims")
    return Token(
        _STATES.get(state, TokenState.INVALID) if isinstance(state, str) else TokenState.INVALID,
        issuer if isinstance(issuer, str) else "",
        claims if isinstance(claims, dict) else {},
    )
