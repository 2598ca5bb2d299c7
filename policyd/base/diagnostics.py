"""Findings: what is wrong with the input, as values.

Every stage from the loader to the guardrails returns findings instead of raising, so that a person sees all
of them at once. The command line, the API and the review comment print the same values.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """How much a finding matters; an `ERROR` keeps a commit from being taken."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in an intent file. Lines and columns count from 1; 0 means the whole file."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.path
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell a person about their input.

    `code` is stable and documented (`PD1104`); `message` is lower case, in the user's words, names in
    backticks; `hint` says what to do instead. `excerpt` is the source line that `location` points into and
    `width` how many characters of it are meant.
    """

    code: str
    severity: Severity
    message: str
    location: Location
    hint: str = ""
    excerpt: str = ""
    width: int = 1

    @property
    def is_error(self) -> bool:
        """Whether this finding alone refuses the commit."""
        return self.severity is Severity.ERROR


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings sorted by place, then severity (worst first), then code; duplicates dropped."""
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda f: (f.location, -f.severity, f.code, f.message)))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any of these findings refuses the commit."""
    return any(finding.is_error for finding in findings)
