"""The whole answer to a question: what becomes of the request, why, where it goes, and what that may hang on.

    question -> following -> explained -> Answer

The same for a folder, a commit and a controller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from policyd.decisions.answer import Answer, Said, answered, place_of
from policyd.decisions.decision import Outcome
from policyd.decisions.following import Followed, otherwise, shared
from policyd.decisions.index import Index
from policyd.decisions.replay import replay
from policyd.decisions.request import Request
from policyd.decisions.routing import diverted, taken_by
from policyd.model.mesh import Mesh
from policyd.model.names import Name

Routing = Callable[[Request], tuple[str, ...]]
"""Where a request goes that passes."""


def explained(
    said: Said, index: Index, request: Request, routing: Routing, at: datetime, *, logged: str = ""
) -> Answer:
    """What is decided of a request where it has arrived, and what a route would have done with it before that.

    `logged` is what the log says that decided, if the request is from one; see `replay`.
    """
    answer = replay(index, request, at, said, logged)
    ways = diverted(said.mesh, request) if answer.outcome == Outcome.DENY.value else ()
    return replace(answer, routing=routing(request) if answer.allow else ways)


def explained_from_caller(said: Said, index: Index, followed: Followed, routing: Routing, at: datetime) -> Answer:
    """What becomes of a request as its caller sends it."""
    sent = followed.sent
    answer = _replied(said, followed) if followed.reply is not None else _judged(said, index, followed)
    taken = taken_by(said.mesh, sent) if followed.reply is None else ()
    ways = routing(sent) if answer.allow else taken
    return replace(answer, routing=(*ways, *shared(followed), *otherwise(index, said.mesh, followed, at)))


def _replied(said: Said, followed: Followed) -> Answer:
    assert followed.reply is not None
    return Answer(
        allow=False,
        outcome=followed.outcome.value,
        rule="",
        reasons=(followed.reply.text,),
        places=(place_of(said, _route_of(said.mesh, followed.sent.destination), "Route"),),
        commit=said.commit,
        status=followed.status,
        cause=followed.reply.cause,
    )


def _judged(said: Said, index: Index, followed: Followed) -> Answer:
    answer = answered(followed.decision, followed.judged, said, index)
    further = tuple(reason.text for reason in followed.reasons[len(followed.decision.reasons) :])
    return replace(answer, reasons=answer.reasons + further, places=answer.places + ("",) * len(further))


def _route_of(mesh: Mesh, service: Name) -> Name | None:
    there = mesh.services.get(service)
    return there.route.name if there is not None and there.route is not None else None
