"""What is decided: the outcome, the rule that allowed, and the reasons in a person's words."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from policyd.model.names import Name


class Outcome(enum.StrEnum):
    """What becomes of the request."""

    ALLOW = "allow"
    DENY = "deny"
    """403: no rule allows it."""
    REJECT = "reject"
    """400: it is not canonical, so that no rule is asked."""


class Obstacle(enum.Enum):
    """The condition of a rule that a request did not meet; nearest first."""

    OBSERVES = 1
    EXPIRED = 2
    METHOD = 3
    SOURCE = 4
    PATH = 5


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of why. `rule` and `obstacle` say the same to programs, where a rule is meant."""

    text: str
    rule: Name | None = None
    obstacle: Obstacle | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `rule` is the first rule, by name, that allows; `reasons` begin with the answer in words."""

    outcome: Outcome
    rule: Name | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def allow(self) -> bool:
        """Whether the request passes."""
        return self.outcome is Outcome.ALLOW
