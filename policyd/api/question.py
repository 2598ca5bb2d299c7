"""The one input schema of every engine, read strictly: what is odd is no question and can be no yes."""

from __future__ import annotations

from typing import Any

from policyd.api.bodies import BadRequest
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
        ip=_text(asked, "source", "ip") if "ip" in asked["source"] else "",
        port=_port(asked["destination"]["port"]) if "port" in asked["destination"] else None,
        token=_token(asked.get("jwt")),
    )


def _text(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise BadRequest(f"`input.{'.'.join(keys)}` is not a string")
    return value


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest("`input.destination.port` is not a port")
    return value


def _token(said: Any) -> Token:
    if said is None:
        return NO_TOKEN
    state = said.get("state") if isinstance(said, dict) else None
    if not isinstance(state, str) or state not in _STATES:
        raise BadRequest(f"`input.jwt.state` is none of {', '.join(f'`{each}`' for each in _STATES)}")
    claims = said.get("claims", {})
    if not isinstance(claims, dict):
        raise BadRequest("`input.jwt.claims` is not an object")
    return Token(_STATES[state], _text(said, "issuer") if "issuer" in said else "", claims)
