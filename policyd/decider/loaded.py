"""What a worker decides from: one value, replaced by one assignment, so that an answer and its revision agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from policyd.decisions import Cause, Decision, Index, Outcome, Request
from policyd.model.names import Name

NOWHERE = ("", "")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An index, the commit that it is of, and where that commit says its rules.

    `places` holds, by destination and rule, `file:line:column` and owner. No decision is made for an instant before
    `floor`, whatever the clock says.
    """

    index: Index
    revision: str
    floor: datetime | None
    places: Mapping[Name, Mapping[str, tuple[str, str]]]
    bundles: bytes = field(init=False, default=b"")
    """How a decision log names the revision, as JSON."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bundles", orjson.dumps({"mesh": {"revision": self.revision}}))

    def instant(self, now: datetime) -> datetime:
        """The instant to decide for."""
        return now if self.floor is None or now >= self.floor else self.floor

    def allows(self, request: Request, at: datetime) -> bool:
        """Whether the request passes: the comparisons of `explain`, without the words."""
        return self.index.judge(request, at).cause is Cause.ALLOWED

    def explain(self, request: Request, at: datetime) -> dict[str, object]:
        """The whole answer: outcome, rule, status, reasons, and where the commit says the rule."""
        found: Decision = self.index.decide(request, at)
        rule = "" if found.rule is None else str(found.rule)
        place, owner = self.places.get(request.destination, {}).get(rule, NOWHERE) if rule else NOWHERE
        return {
            "allow": found.allow,
            "outcome": found.outcome.value,
            "rule": rule,
            "status": found.status,
            "reason": found.cause.value,
            "would": "" if found.would is None else found.would.value,
            "reasons": [reason.text for reason in found.reasons],
            "place": place,
            "owner": owner,
            "commit": self.revision,
        }


def refused(why: str, revision: str) -> dict[str, object]:
    """The answer to what is no question: a denial, never an error that a caller could take for a yes."""
    return {
        "allow": False,
        "outcome": Outcome.DENY.value,
        "rule": "",
        "status": 403,
        "reason": "malformed",
        "would": "",
        "reasons": [why],
        "place": "",
        "owner": "",
        "commit": revision,
    }
