"""What keeps the controller from its work: one line for each thing that is wrong, until that thing is well again.

    follow, renew, rollout.driver -> troubles -> status, readyz

A repository that is away and an expired root are two troubles: neither may hide the other, and one that is over
must not take the other with it.
"""

from __future__ import annotations

import enum

from policyd.api.control import TroubleStatus


class About(enum.StrEnum):
    """What can be in trouble, in the order in which it is shown."""

    STORE = "store"
    REPOSITORY = "repository"
    COMMIT = "commit"
    SECRETS = "secrets"
    ROOTS = "roots"
    KEYS = "keys"
    CERTIFICATES = "certificates"
    RELEASES = "releases"
    CLOCK = "clock"
    MEMORY = "memory"
    DECISIONS = "decisions"


class Troubles:
    """The newest words about everything that is not well."""

    def __init__(self) -> None:
        self._said: dict[About, str] = {}

    def say(self, about: About, words: str) -> None:
        """Something is wrong; empty words mean that it is well."""
        if words:
            self._said[about] = words
        else:
            self.over(about)

    def over(self, about: About) -> None:
        """It is well again."""
        self._said.pop(about, None)

    def all(self) -> tuple[TroubleStatus, ...]:
        """Every trouble that there is now."""
        return tuple(TroubleStatus(about.value, self._said[about]) for about in About if about in self._said)

    def __str__(self) -> str:
        return "; ".join(f"{trouble.about}: {trouble.said}" for trouble in self.all())
