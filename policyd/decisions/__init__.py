"""Decisions: may this caller send this request to that service, and why.

    Index.build(mesh) -> index.decide(Request(...), at) -> Decision(outcome, rule, reasons)

The reasons of a denial come from the very comparisons that denied.
"""

from policyd.decisions.decision import Decision, Obstacle, Outcome, Reason
from policyd.decisions.index import Index
from policyd.decisions.request import Request

__all__ = ["Decision", "Index", "Obstacle", "Outcome", "Reason", "Request"]
