"""What becomes of a request as its caller sends it: a rule of a route answers it, or those judge it that it goes to.

Several services may get a share of the same requests. Such a request is allowed if each of them allows it: whoever
calls cannot choose. See decision 027.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from policyd.decisions.decision import Decision, Outcome, Reason
from policyd.decisions.index import Index
from policyd.decisions.reasons import short
from policyd.decisions.request import Request
from policyd.decisions.taking import FOR_SURE, Taken, arrivals, taking
from policyd.model.mesh import Mesh
from policyd.model.route import RouteRule
from policyd.model.route_words import outcome, requests
from policyd.model.service import WHOLE

REDIRECTED, ABORTED = "redirected", "aborted"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the caller's own sidecar answers, by a rule of a route: nobody judges the request."""

    outcome: Outcome
    status: int
    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class Followed:
    """What becomes of `sent`. `judged` is it as it arrives where it is decided: at the first that does not allow it.

    `shares` has it as it arrives at each service that it may go to, with what that one decides.
    """

    sent: Request
    judged: Request
    decision: Decision
    taken: Taken = Taken()
    reply: Reply | None = None
    shares: tuple[tuple[Request, Decision], ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What becomes of it."""
        return self.reply.outcome if self.reply is not None else self.decision.outcome

    @property
    def status(self) -> int:
        """What a proxy answers; 200 stands for what the application will say."""
        return self.reply.status if self.reply is not None else self.decision.status

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why. A path that is refused as it arrives is said as it was sent, too."""
        if self.reply is not None:
            return (Reason(self.reply.text),)
        found = self.decision.reasons
        if self.outcome is Outcome.REJECT and self.judged.path != self.sent.path:
            return (*found, Reason(f"it was sent as `{self.sent.bare_path}`, and {_rule(self.taken)} rewrites it"))
        return found


def follow(index: Index, mesh: Mesh, request: Request, at: datetime) -> Followed:
    """What becomes of a request that brings what the question says, and nothing that it does not speak of."""
    return _by(index, mesh, request, taking(mesh, request)[-1], at)


def otherwise(index: Index, mesh: Mesh, followed: Followed, at: datetime) -> Iterator[str]:
    """What else may become of it, by what the question does not say: headers, cookies, the host."""
    for taken in taking(mesh, followed.sent):
        if taken.unknown == FOR_SURE:
            return
        other = _by(index, mesh, followed.sent, taken, at)
        if (other.outcome, other.status) != (followed.outcome, followed.status):
            why = f", {_rule(taken)}" if other.reply is not None else f": {other.reasons[0].text}"
            yield f"with {requests(taken.unknown)} the answer is `{other.outcome}` ({other.status}){why}"


def shared(followed: Followed) -> Iterator[str]:
    """What each service says that gets a share, where several do."""
    if len(followed.shares) > 1:
        for judged, decision in followed.shares:
            yield f"what goes to `{short(judged.destination)}`: `{decision.outcome}`, {decision.reasons[0].text}"


def _by(index: Index, mesh: Mesh, request: Request, taken: Taken, at: datetime) -> Followed:
    arrived = arrivals(mesh, request, taken.rule, at)
    shares = tuple((each, index.decide(each, at)) for each in arrived)
    judged, decision = next(((each, said) for each, said in shares if not said.allow), shares[0])
    return Followed(request, judged, decision, taken, _reply(taken.rule), shares)


def _reply(rule: RouteRule | None) -> Reply | None:
    """What the rule answers to every request that it takes, if it does."""
    if rule is None:
        return None
    what = f"rule `{rule.name}` of its route answers it, and it never arrives: {outcome(rule)}"
    if rule.redirect is not None:
        return Reply(Outcome.REDIRECT, rule.redirect.code, REDIRECTED, what)
    if rule.fault is not None and rule.fault.abort_share == WHOLE:
        return Reply(Outcome.ABORT, rule.fault.abort_status, ABORTED, what)
    return None


def _rule(taken: Taken) -> str:
    return f"rule `{taken.rule.name}` of its route" if taken.rule is not None else "no rule"
