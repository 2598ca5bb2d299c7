"""One destination's rules, made ready to be asked: callers by hash, literal paths by hash, patterns in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from policyd.decisions.decision import Obstacle
from policyd.decisions.request import Request
from policyd.model.access import ANY_METHOD, Access, Mode, Rule, Source
from policyd.model.names import Name, namespace_prefix, spiffe_id
from policyd.model.paths import PathPattern

Methods = frozenset[str]
NO_METHODS: Methods = frozenset()


@dataclass(frozen=True, slots=True)
class Callers:
    """The identities that a source stands for: whole SPIFFE IDs, or all that begin with one of `prefixes`."""

    identities: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Source, trust_domain: str) -> Callers:
        """Values of a field are ORed, fields that are set are ANDed; a source without fields matches nobody."""
        prefixes = [namespace_prefix(trust_domain, namespace) for namespace in source.namespaces]
        if source.anyone and not prefixes:
            prefixes = [f"spiffe://{trust_domain}/"]
        if not source.services and not source.identities:
            return cls((), tuple(prefixes))
        services = {spiffe_id(trust_domain, service) for service in source.services}
        listed = set(source.identities)
        named = services & listed if services and listed else services | listed
        if prefixes:
            named = {identity for identity in named if identity.startswith(tuple(prefixes))}
        return cls(tuple(sorted(named)))


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its permits by path."""

    rule: Rule
    literal: Mapping[str, Methods]
    patterns: tuple[tuple[PathPattern, Methods], ...]

    @classmethod
    def of(cls, rule: Rule) -> CompiledRule:
        """Methods of equal literal paths are united."""
        literal: dict[str, Methods] = {}
        patterns: list[tuple[PathPattern, Methods]] = []
        for permit in rule.permits:
            methods = frozenset(permit.methods)
            for path in permit.paths:
                if path.rest or None in path.segments:
                    patterns.append((path, methods))
                else:
                    literal[str(path)] = literal.get(str(path), NO_METHODS) | methods
        return cls(rule, literal, tuple(patterns))

    def obstacle(self, method: str, path: str, at: datetime) -> Obstacle | None:
        """What in the rule, its sources apart, is not met; `None` where all of it is."""
        allowed = self.methods_on(path)
        if not allowed:
            return Obstacle.PATH
        if method not in allowed and ANY_METHOD not in allowed:
            return Obstacle.METHOD
        if not self.rule.in_force(at):
            return Obstacle.EXPIRED
        return None if self.rule.mode is Mode.ENFORCE else Obstacle.OBSERVES

    def methods_on(self, path: str) -> Methods:
        """All methods that the rule allows on a path; none where no path of it fits."""
        found = self.literal.get(path, NO_METHODS)
        for pattern, methods in self.patterns:
            if not methods <= found and pattern.matches(path):
                found |= methods
        return found


@dataclass(frozen=True, slots=True)
class Destination:
    """All rules of one service. Numbers are positions in `rules`, which are in order of name."""

    access: Access
    opaque_paths: bool
    rules: tuple[CompiledRule, ...]
    by_identity: Mapping[str, tuple[int, ...]]
    by_prefix: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, access: Access, trust_domain: str, *, opaque_paths: bool) -> Destination:
        """Make the rules of one service ready."""
        by_identity: dict[str, dict[int, None]] = {}
        by_prefix: dict[str, dict[int, None]] = {}
        for position, rule in enumerate(access.rules):
            for source in rule.sources:
                callers = Callers.of(source, trust_domain)
                for identity in callers.identities:
                    by_identity.setdefault(identity, {})[position] = None
                for prefix in callers.prefixes:
                    by_prefix.setdefault(prefix, {})[position] = None
        return cls(
            access,
            opaque_paths,
            tuple(CompiledRule.of(rule) for rule in access.rules),
            {identity: tuple(positions) for identity, positions in by_identity.items()},
            {prefix: tuple(positions) for prefix, positions in by_prefix.items()},
        )

    def naming(self, source: str) -> Iterable[int]:
        """The rules that name a caller, in order."""
        direct = self.by_identity.get(source, ())
        if not self.by_prefix:
            return direct
        found = set(direct)
        for prefix in prefixes(source):
            found.update(self.by_prefix.get(prefix, ()))
        return sorted(found)

    def allowing(self, request: Request, at: datetime) -> tuple[Name | None, dict[int, Obstacle]]:
        """The first rule that allows the request, or what was in the way of each rule that names the caller."""
        path = request.bare_path
        obstacles: dict[int, Obstacle] = {}
        for position in self.naming(request.source):
            obstacle = self.rules[position].obstacle(request.method, path, at)
            if obstacle is None:
                return self.rules[position].rule.name, obstacles
            obstacles[position] = obstacle
        return None, obstacles


def prefixes(source: str) -> tuple[str, ...]:
    """What rules for everyone, and for a namespace, may know an identity by: its trust domain and its namespace."""
    parts = source.split("/")
    if len(parts) < 4 or parts[0] != "spiffe:" or parts[1]:
        return ()
    domain = "/".join(parts[:3]) + "/"
    if len(parts) >= 7 and parts[3] == "ns" and parts[5] == "svc":
        return domain, "/".join(parts[:6]) + "/"
    return (domain,)
