"""A request from a log, decided again. A log carries no token: what became of the request tells what there was.

line -> Request, the word of its proxy -> replay -> Answer
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from policyd.compiler.rules import NO_RULE_FOR_REQUEST, NO_VALID_TOKEN, policy_name
from policyd.decisions.answer import Answer, Said, answered
from policyd.decisions.decision import Cause
from policyd.decisions.index import Index
from policyd.decisions.reasons import short
from policyd.decisions.request import NO_TOKEN, Request, Token, TokenState
from policyd.model.access import Rule


def replay(index: Index, request: Request, at: datetime, said: Said, logged: str) -> Answer:
    """The answer at the instant `at`. `logged` is what the proxy said that decided: a rule, why none did, or nothing.

    Where nobody says which token there was, it is taken for one with which the proxy would have decided so; the last
    reason says that.
    """
    token, remark = request.token, ""
    decision = index.decide(request, at)
    if token == NO_TOKEN and decision.cause is Cause.TOKEN_NEEDED:
        token, remark = _implied(index, request, logged)
    if token != request.token:
        request = request._replace(token=token)
        decision = index.decide(request, at)
    answer = answered(decision, request, said, index, logged)
    return replace(answer, reasons=(*answer.reasons, remark), places=(*answer.places, "")) if remark else answer


def _implied(index: Index, request: Request, logged: str) -> tuple[Token, str]:
    """The token with which the proxy would have decided as it did, and how we know."""
    if logged == NO_VALID_TOKEN:
        return (
            NO_TOKEN,
            "a log does not say whether there was no token, or one that was forged, ended or not meant",
        )
    if logged == NO_RULE_FOR_REQUEST:
        return Token(TokenState.VALID), "a valid token was sent: without one, the proxy had answered 401"
    rule = _named(index, request, logged)
    if rule is None or rule.token is None:
        return NO_TOKEN, ""
    claims = {name: values[0] for name, values in rule.token.claims}
    told = f"the token is taken for one that rule `{short(rule.name)}` asks for, since that allowed: a log has none"
    return Token(TokenState.VALID, index.issuers.get(rule.token.issuer, ""), claims), told


def _named(index: Index, request: Request, logged: str) -> Rule | None:
    """The rule that a log means, if it is still worded as it was."""
    destination = index.destinations.get(request.destination)
    rules = destination.access.rules if destination is not None else ()
    return next((rule for rule in rules if policy_name(rule) == logged), None)
