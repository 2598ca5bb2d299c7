"""What a worker decides from: one value, replaced by one assignment, so that an answer and its revision agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from policyd.decisions import Cause, Decision, Index, Outcome, Request
from policyd.decisions.destination import Destination, Verdict
from policyd.decisions.reasons import allowing, caller_text
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

    _by_text: dict[str, Destination] = field(init=False, default_factory=dict, compare=False, repr=False)
    """Destinations as questions spelled them so far: each in two ways at the most."""
    _allowing: dict[tuple[Name, Name], tuple[str, str]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )
    """By destination and rule, the whole answer where it allows, but for who asked for what; of rules that did."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bundles", orjson.dumps({"mesh": {"revision": self.revision}}))

    def instant(self, now: datetime) -> datetime:
        """The instant to decide for."""
        return now if self.floor is None or now >= self.floor else self.floor

    def plainly(self, source: str, service: str, method: str, path: str) -> Verdict | None:
        """What is decided of a question that says no more than this, where a look-up tells; else `None`."""
        found = self._by_text.get(service)
        if found is None:
            found = self.index.destinations.get(Name.parse(service))
            if found is None:
                return None
            self._by_text[service] = found
        return found.plainly(source, method, path)

    def plainly_told(self, verdict: Verdict, request: Request, now: Callable[[], datetime]) -> bytes:
        """The whole answer as JSON, `explain`, where `plainly` decided."""
        destination = request.destination
        if verdict.rule is None:
            found = self.index.explained(verdict, request, self.instant(now()))
            return orjson.dumps(self._told(found, destination))
        pieces = self._allowing.get((destination, verdict.rule))
        if pieces is None:
            pieces = self._allowing[destination, verdict.rule] = self._pieces(verdict, destination)
        # Neither a SPIFFE ID nor a method nor a canonical path has anything that JSON would escape.
        before, behind = pieces
        caller = caller_text(request.source, self.index.trust_domain)
        return f"{before}{caller} to `{request.method} {request.path}`{behind}".encode()

    def _pieces(self, verdict: Verdict, destination: Name) -> tuple[str, str]:
        """What stands before and behind caller and request in the answer of a rule that allows."""
        assert verdict.rule is not None
        told = orjson.dumps(self._told(Decision(*verdict, tuple), destination)).decode()
        before, _, behind = told.partition('"reasons":[]')  # no string can hold this: its quotes would be escaped
        first, last = (orjson.dumps(text).decode() for text in allowing(verdict.rule, destination))
        return f'{before}"reasons":[{first[:-1]}', f"{last[1:]}]{behind}"

    def allows(self, request: Request, at: datetime) -> bool:
        """Whether the request passes: the comparisons of `explain`, without the words."""
        return self.index.judge(request, at).cause is Cause.ALLOWED

    def explain(self, request: Request, at: datetime) -> dict[str, object]:
        """The whole answer: outcome, rule, status, reasons, and where the commit says the rule."""
        return self._told(self.index.decide(request, at), request.destination)

    def _told(self, found: Decision, destination: Name) -> dict[str, object]:
        rule = "" if found.rule is None else str(found.rule)
        place, owner = self.places.get(destination, {}).get(rule, NOWHERE) if rule else NOWHERE
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
