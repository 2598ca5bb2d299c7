"""A document: one intent, with the place of everything it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.intents.kinds import AnyIntent
from policyd.intents.place import Place, Source, Step, find, find_key
from policyd.model.names import Name


@dataclass(frozen=True, slots=True)
class Exemption:
    """`# policyd: allow PD2104 until 2027-01-31 because ...`: a person accepts a finding, for a time.

    It holds for findings of `code` in the document that it stands in, before the instant `until`. Whether the rule
    may be exempted at all, and what time it is, the guardrails know.
    """

    code: str
    until: datetime
    reason: str
    location: Location


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One intent. `raw` is what the file says as plain JSON-able values, `intent` the same with types.

    `id` is `Kind namespace/name`, what may stand only once in a tree. Documents are compared by identity: the same
    blob gives the same object as long as a cache remembers it.
    """

    path: str
    kind: str
    name: Name
    id: str
    owner: str
    intent: AnyIntent
    raw: Mapping[str, Any]
    exemptions: tuple[Exemption, ...]
    place: Place
    source: Source

    def locate(self, *path: Step) -> Location:
        """Where the value at `path` stands, for example `locate("spec", "allow", 0, "paths")`.

        Where the file does not go that deep, the place of the nearest value around it.
        """
        return self.source.location(find(self.place, path))

    def locate_key(self, *path: Step) -> Location:
        """Where the key that `path` ends with stands."""
        return self.source.location(find_key(self.place, path))

    def finding(
        self,
        code: str,
        message: str,
        *path: Step,
        hint: str = "",
        severity: Severity = Severity.ERROR,
        at_key: bool = False,
    ) -> Finding:
        """A finding about the value at `path` (or about its key), quoting the line it stands in."""
        span = find_key(self.place, path) if at_key else find(self.place, path)
        return self.source.finding(code, message, span, hint=hint, severity=severity)
