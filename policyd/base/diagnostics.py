"""Findings: what is wrong with the input, as values.

Every stage from the loader to the guardrails returns findings instead of raising, so that a person sees all
of them at once. The command line, the API and the review comment print the same values.

Nobody reads thousands of them, and they cost memory: `in_order`, which every stage hands its findings through, keeps
the worst of each file and of the tree, and counts the rest.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_OF_A_FILE = 100
"""Findings that are kept of one file."""
MOST_OF_A_TREE = 2_000
"""Findings that are kept of all files together."""
WHOLE_TREE = "."
"""The path of what is about no file."""


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
    `width` how many characters of it are meant. `more` is 0, but for the finding that stands for so many others.
    """

    code: str
    severity: Severity
    message: str
    location: Location
    hint: str = ""
    excerpt: str = ""
    width: int = 1
    more: int = 0

    @property
    def is_error(self) -> bool:
        """Whether this finding alone refuses the commit."""
        return self.severity is Severity.ERROR


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings sorted by place, then severity (worst first), then code; duplicates dropped.

    Of a file, and of the tree, the worst are kept, the first of them by place; what is cut is counted by one more
    finding (PD1014), as severe as the worst that it stands for: an error that is cut still refuses the commit. What
    was counted before is counted again, so that stages may put their findings together in any order.
    """
    by_file: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in dict.fromkeys(findings):
        by_file[finding.location.path].append(finding)
    kept = [one for path, some in by_file.items() for one in _worst(some, MOST_OF_A_FILE, path)]
    return tuple(
        sorted(_worst(kept, MOST_OF_A_TREE, WHOLE_TREE), key=lambda f: (f.location.path, bool(f.more), *_by_place(f)))
    )


def _by_place(finding: Finding) -> tuple[Location, int, str, str]:
    return finding.location, -finding.severity, finding.code, finding.message


def _worst(findings: Sequence[Finding], most: int, path: str) -> Sequence[Finding]:
    """The worst of the findings of a file, or of the tree, and one that counts the others."""
    told: list[Finding] = []
    counted: list[Finding] = []
    for one in findings:
        (counted if one.more and one.location.path == path else told).append(one)
    if len(counted) <= 1 and len(findings) <= most + 1:  # no finding is cut to make room for its own number
        return findings
    told.sort(key=lambda f: (-f.severity, bool(f.more), *_by_place(f)))
    cut = [*told[most:], *counted]
    number = sum(one.more or 1 for one in cut)
    severity = max(one.severity for one in cut)
    if path == WHOLE_TREE:
        where, excerpt, message = Location(path), "", f"{number:,} more findings"
    else:
        where, excerpt, message = cut[0].location, cut[0].excerpt, f"{number:,} more findings in this file"
    rest = Finding("PD1014", severity, message, where, "start with the first finding", excerpt, more=number)
    return *told[:most], rest


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any of these findings refuses the commit."""
    return any(finding.is_error for finding in findings)
