"""What is decided: what becomes of the request, the rule that allowed, and the reasons in a person's words."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from policyd.model.names import Name


class Outcome(enum.StrEnum):
    """What becomes of the request."""

    ALLOW = "allow"
    DENY = "deny"
    """401 or 403: no rule allows it."""
    REJECT = "reject"
    """400: it is not canonical, so that no rule is asked."""
    REDIRECT = "redirect"
    """A rule of a route sends the client elsewhere. Only of a request that is followed from its caller."""
    ABORT = "abort"
    """A rule of a route answers every such request with an error, on purpose. The same."""


class Cause(enum.StrEnum):
    """Why, in one word; the words of `rego/policyd/authz`, in the order in which they are looked for."""

    MALFORMED = "malformed"
    """It is no request: what has to be there is missing, or the caller has nothing that can be a SPIFFE ID."""
    NOT_CANONICAL = "not-canonical"
    UNKNOWN_DESTINATION = "unknown-destination"
    UNKNOWN_PORT = "unknown-port"
    REVOKED = "revoked"
    ALLOWED = "allowed"
    TOKEN_NEEDED = "token-needed"  # noqa: S105 - not a secret
    """Some rule would allow the request with a valid token."""
    NO_RULE = "no-rule"

    @property
    def status(self) -> int:
        """What a proxy answers; 200 stands for what the application will say."""
        return _STATUS.get(self, 403)

    @property
    def outcome(self) -> Outcome:
        """What becomes of the request."""
        return _OUTCOME.get(self, Outcome.DENY)


_STATUS = {Cause.ALLOWED: 200, Cause.NOT_CANONICAL: 400, Cause.TOKEN_NEEDED: 401}
_OUTCOME = {Cause.ALLOWED: Outcome.ALLOW, Cause.NOT_CANONICAL: Outcome.REJECT}


class Would(enum.StrEnum):
    """Where the observed rules, in the place of what they replace, would decide otherwise."""

    ALLOW = "would-allow"
    DENY = "would-deny"


class Obstacle(enum.Enum):
    """The condition of a rule that a request did not meet; nearest first."""

    OBSERVES = 1
    TOKEN = 2
    EXPIRED = 3
    ADDRESS = 4
    METHOD = 5
    PORT = 6
    SOURCE = 7
    PATH = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of why. `rule` and `obstacle` say the same to programs, where a rule is meant."""

    text: str
    rule: Name | None = None
    obstacle: Obstacle | None = None

    def __str__(self) -> str:
        return self.text


class Decision(NamedTuple):
    """The answer. `rule` is the first rule, by name, that allows.

    `observer` is the observed rule that `would` is about: the first that would allow, or one that stands for the
    rule that allows now.
    """

    cause: Cause
    rule: Name | None
    would: Would | None
    observer: Name | None
    explain: Callable[[], tuple[Reason, ...]]
    """Works out `reasons`; most who decide never ask."""

    @property
    def outcome(self) -> Outcome:
        """What becomes of the request."""
        return self.cause.outcome

    @property
    def status(self) -> int:
        """What a proxy answers: 200 (what the application will say), 400, 401 or 403."""
        return self.cause.status

    @property
    def allow(self) -> bool:
        """Whether the request passes."""
        return self.cause is Cause.ALLOWED

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why, beginning with the answer in words; worked out anew each time, by the comparisons that decided."""
        return self.explain()
