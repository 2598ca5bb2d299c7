"""Who may call whom: allow-only rules, default deny.

A request is allowed when some enforced rule of its destination has a source that fits the caller and a permit
that fits method and path. Identities come from verified mTLS only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from policyd.base.content import digest
from policyd.model.names import Name
from policyd.model.paths import PathPattern

ANY_METHOD = "*"


class Mode(enum.Enum):
    """Whether a rule decides, or is only counted and logged where it would decide otherwise."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Source:
    """Callers. Values of a field are ORed, the fields that are set are ANDed; nothing set matches nobody.

    `anyone` is every verified identity of the mesh's own trust domain (`from: ["*"]`). `identities` are whole
    SPIFFE IDs, of this trust domain or another.
    """

    services: tuple[Name, ...] = ()
    namespaces: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    anyone: bool = False

    def covers(self, other: Source) -> bool:
        """Whether all that match `other` match this one, as far as that is told field by field."""
        return self.anyone == other.anyone and all(
            mine == theirs or (mine and theirs and set(theirs) <= set(mine))
            for mine, theirs in (
                (self.services, other.services),
                (self.namespaces, other.namespaces),
                (self.identities, other.identities),
            )
        )


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be called: one of the methods (`*` = any) on one of the paths."""

    methods: tuple[str, ...]
    paths: tuple[PathPattern, ...]

    def covers(self, method: str, path: PathPattern) -> bool:
        """Whether it permits that method (`*` = all of them) on every path of the pattern."""
        known = method in self.methods or ANY_METHOD in self.methods
        return known and any(mine.covers(path) for mine in self.paths)


@dataclass(frozen=True, slots=True)
class Rule:
    """One access rule, resolved. From `expires` on it allows nothing."""

    name: Name
    sources: tuple[Source, ...]
    permits: tuple[Permit, ...]
    mode: Mode = Mode.ENFORCE
    expires: datetime | None = None

    def in_force(self, at: datetime) -> bool:
        """Whether the rule has not expired at the instant `at`."""
        return self.expires is None or at < self.expires

    def covers(self, other: Rule) -> bool:
        """Whether it allows, for as long, all that `other` does. False may also mean that a closer look is needed."""
        return (
            self.mode is other.mode
            and (self.expires is None or (other.expires is not None and other.expires <= self.expires))
            and all(any(mine.covers(theirs) for mine in self.sources) for theirs in other.sources)
            and all(
                any(mine.covers(method, path) for mine in self.permits)
                for theirs in other.permits
                for method in theirs.methods
                for path in theirs.paths
            )
        )


@dataclass(frozen=True, slots=True)
class Access:
    """All rules of one destination, sorted by name. No rules means that nobody may call it."""

    to: Name
    rules: tuple[Rule, ...] = ()
    _digest: str = field(init=False, compare=False, repr=False, default="")

    @property
    def digest(self) -> str:
        """The name by content; worked out when it is first asked for, since a check never does."""
        if not self._digest:
            object.__setattr__(self, "_digest", digest(self))
        return self._digest
