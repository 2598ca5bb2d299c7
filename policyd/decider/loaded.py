"""What a worker decides from: one value, replaced by one assignment, so that an answer and its revision agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from policyd.decisions import Decision, Index, Outcome, Request
from policyd.decisions.request import fault
from policyd.model.names import Name

STATUS = {Outcome.ALLOW: 200, Outcome.DENY: 403, Outcome.REJECT: 400}
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
        destination = self.index.destinations.get(request.destination)
        if destination is None or fault(request, opaque_paths=destination.opaque_paths):
            return False
        return destination.allowing(request, at)[0] is not None

    def explain(self, request: Request, at: datetime) -> dict[str, object]:
        """The whole answer: outcome, rule, status, reasons, and where the commit says the rule."""
        found: Decision = self.index.decide(request, at)
        rule = "" if found.rule is None else str(found.rule)
        place, owner = self.places.get(request.destination, {}).get(rule, NOWHERE) if rule else NOWHERE
        return {
            "allow": found.allow,
            "outcome": found.outcome.value,
            "rule": rule,
            "status": STATUS[found.outcome],
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
        "reasons": [why],
        "place": "",
        "owner": "",
        "commit": revision,
    }
