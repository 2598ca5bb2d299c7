"""Who may call whom: allow-only rules, default deny.

A request is allowed when some enforced rule of its destination has a source that fits the caller, a permit that fits
method, path and port, and a token condition that is met, if it has one. Identities come from verified mTLS only.
What is revoked is refused before any rule.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from policyd.base.content import digest, later
from policyd.model.methods import CONNECTION
from policyd.model.names import Name
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.tokens import TokenCondition

ANY_METHOD = "*"


class Mode(enum.Enum):
    """Whether a rule decides, or is only counted and logged where it would decide otherwise."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Source:
    """Callers. Values of a field are ORed, the fields that are set are ANDed; nothing set matches nobody.

    `anyone` is every verified identity of the mesh's own trust domain (`from: ["*"]`). `identities` are whole
    SPIFFE IDs, of this trust domain or another. `ip_blocks` (CIDR, canonical) hold the address of the direct peer;
    alone they mean every verified identity there, of any trust domain that the mesh trusts.
    """

    services: tuple[Name, ...] = ()
    namespaces: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    anyone: bool = False
    ip_blocks: tuple[str, ...] = later(())

    @property
    def any_identity(self) -> bool:
        """Whether it looks at addresses alone, so that every verified identity may be meant."""
        return bool(self.ip_blocks) and not (self.services or self.namespaces or self.identities or self.anyone)

    def covers(self, other: Source) -> bool:
        """Whether all that match `other` match this one, as far as that is told field by field."""
        if self.ip_blocks and not (other.ip_blocks and set(other.ip_blocks) <= set(self.ip_blocks)):
            return False
        return (
            self.anyone == other.anyone
            and self.any_identity == other.any_identity
            and all(
                mine == theirs or (mine and theirs and set(theirs) <= set(mine))
                for mine, theirs in (
                    (self.services, other.services),
                    (self.namespaces, other.namespaces),
                    (self.identities, other.identities),
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be called: one of the methods (`*` = any) on one of the paths, at one of the ports (empty = any)."""

    methods: tuple[str, ...]
    paths: tuple[PathPattern, ...]
    ports: tuple[int, ...] = later(())

    @classmethod
    def of_connections(cls, ports: tuple[int, ...] = ()) -> Permit:
        """What lets connections in, to a service that takes them; no method but this one means a connection."""
        return cls((CONNECTION,), (EVERYTHING,), ports)

    @property
    def connections(self) -> bool:
        """Whether it is connections that it lets in."""
        return self.methods == (CONNECTION,)

    def covers(self, method: str, path: PathPattern, ports: tuple[int, ...] = ()) -> bool:
        """Whether it permits that method (`*` = all of them) on every path of the pattern at those ports."""
        known = method in self.methods or (ANY_METHOD in self.methods and method != CONNECTION)
        reached = not self.ports or (bool(ports) and set(ports) <= set(self.ports))
        return known and reached and any(mine.covers(path) for mine in self.paths)


@dataclass(frozen=True, slots=True)
class Rule:
    """One access rule, resolved. From `expires` on it allows nothing.

    A rule that is only observed may stand for others: `replaces` names those, of the same destination, that would go
    if it were enforced.
    """

    name: Name
    sources: tuple[Source, ...]
    permits: tuple[Permit, ...]
    mode: Mode = Mode.ENFORCE
    expires: datetime | None = None
    token: TokenCondition | None = later(None)
    replaces: tuple[Name, ...] = later(())

    def in_force(self, at: datetime) -> bool:
        """Whether the rule has not expired at the instant `at`."""
        return self.expires is None or at < self.expires

    def covers(self, other: Rule) -> bool:
        """Whether it allows, for as long, all that `other` does. False may also mean that a closer look is needed."""
        return (
            self.mode is other.mode
            and self.replaces == other.replaces
            and (self.token is None or self.token.covers(other.token))
            and (self.expires is None or (other.expires is not None and other.expires <= self.expires))
            and all(any(mine.covers(theirs) for mine in self.sources) for theirs in other.sources)
            and all(
                any(mine.covers(method, path, theirs.ports) for mine in self.permits)
                for theirs in other.permits
                for method in theirs.methods
                for path in theirs.paths
            )
        )


@dataclass(frozen=True, slots=True)
class Access:
    """All rules of one destination, sorted by name. No rules means that nobody may call it.

    `revoked` are the identities (whole SPIFFE IDs, sorted) that are cut off from it whatever the rules say; they
    come from the floor, never from a release.
    """

    to: Name
    rules: tuple[Rule, ...] = ()
    revoked: tuple[str, ...] = later(())
    _digest: str = field(init=False, compare=False, repr=False, default="")

    @property
    def digest(self) -> str:
        """The name by content; worked out when it is first asked for, since a check never does."""
        if not self._digest:
            object.__setattr__(self, "_digest", digest(self))
        return self._digest

    @property
    def enforced(self) -> tuple[Rule, ...]:
        """The rules that decide."""
        return tuple(rule for rule in self.rules if rule.mode is Mode.ENFORCE)

    def would_be(self, at: datetime) -> tuple[Rule, ...]:
        """The rules that would decide at the instant `at` if all were enforced.

        Observed ones are in the place of what they replace; one that has ended stands for nothing any more.
        """
        until = self.replaced_until
        return tuple(
            rule
            for rule in self.rules
            if rule.name not in until or ((end := until[rule.name]) is not None and end <= at)
        )

    @property
    def replaced_until(self) -> Mapping[Name, datetime | None]:
        """By name what observed rules stand for, and when the last of them ends; `None` if one never does."""
        until: dict[Name, datetime | None] = {}
        for rule in self.rules:
            for name in rule.replaces if rule.mode is Mode.OBSERVE else ():
                known = until.get(name, rule.expires)
                until[name] = max(known, rule.expires) if known is not None and rule.expires is not None else None
        return until
