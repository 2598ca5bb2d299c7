"""Decisions: may this caller send this request to that service, and why.

    Index.build(mesh) -> index.decide(Request(...), at) -> Decision(outcome, status, rule, would, reasons)

Reasons come from the very comparisons that decided, and are worked out when somebody asks for them.
"""

from policyd.decisions.answer import Answer, Live, Said, answered
from policyd.decisions.decision import Cause, Decision, Obstacle, Outcome, Reason, Would
from policyd.decisions.destination import Destination
from policyd.decisions.entering import Entrance, as_gateways_see, entering
from policyd.decisions.explained import explained, explained_from_caller
from policyd.decisions.following import Followed, follow
from policyd.decisions.index import Index
from policyd.decisions.replay import replay
from policyd.decisions.request import NO_TOKEN, Request, Token, TokenState
from policyd.decisions.routing import diverted, routing

__all__ = [
    "NO_TOKEN",
    "Answer",
    "Cause",
    "Decision",
    "Destination",
    "Entrance",
    "Followed",
    "Index",
    "Live",
    "Obstacle",
    "Outcome",
    "Reason",
    "Request",
    "Said",
    "Token",
    "TokenState",
    "Would",
    "answered",
    "as_gateways_see",
    "diverted",
    "entering",
    "explained",
    "explained_from_caller",
    "follow",
    "replay",
    "routing",
]
