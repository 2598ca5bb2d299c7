"""One rule, made ready to be asked: permits by path, conditions on tokens with the issuer's own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policyd.decisions.request import Token, TokenState
from policyd.model.access import ANY_METHOD, Permit, Rule
from policyd.model.methods import METHODS
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.tokens import TokenCondition

Methods = frozenset[str]
NO_METHODS: Methods = frozenset()
ALL_METHODS: Methods = frozenset(METHODS)


@dataclass(frozen=True, slots=True)
class TokenNeeded:
    """A valid token of `issuer` (its `iss`; empty: nobody's) with these claims, each with one of its values."""

    issuer: str
    claims: tuple[tuple[str, frozenset[str]], ...]

    @classmethod
    def of(cls, condition: TokenCondition, issuers: Mapping[str, str]) -> TokenNeeded:
        """`issuers` are the `iss` by the name that rules use."""
        claims = tuple((name, frozenset(values)) for name, values in condition.claims)
        return cls(issuers.get(condition.issuer, ""), claims)

    def met_by(self, token: Token) -> bool:
        """Whether a token is such a one."""
        return (
            token.state is TokenState.VALID
            and bool(self.issuer)
            and token.issuer == self.issuer
            and all(_says(token.claims.get(name), values) for name, values in self.claims)
        )


def _says(claim: object, values: frozenset[str]) -> bool:
    """Whether a claim is a string among the values, or a list that holds one."""
    if isinstance(claim, str):
        return claim in values
    return isinstance(claim, list | tuple) and any(isinstance(each, str) and each in values for each in claim)


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its permits by path. Permits for other ports than the service's allow nothing: `elsewhere`."""

    rule: Rule
    literal: Mapping[str, Methods]
    patterns: tuple[tuple[PathPattern, Methods], ...]
    token: TokenNeeded | None
    elsewhere: tuple[Permit, ...] = ()

    @classmethod
    def of(
        cls, rule: Rule, *, port: int, opaque_paths: bool, issuers: Mapping[str, str], connections: bool = False
    ) -> CompiledRule:
        """Methods of equal literal paths are united. Where paths are opaque, no set of paths but all is judged.

        A connection has the empty path; `connections`: the service takes those, and no requests.
        """
        literal: dict[str, Methods] = {}
        patterns: list[tuple[PathPattern, Methods]] = []
        elsewhere: list[Permit] = []
        for permit in rule.permits:
            if permit.connections is not connections:
                continue
            if permit.ports and port not in permit.ports:
                elsewhere.append(permit)
                continue
            methods = ALL_METHODS if ANY_METHOD in permit.methods else frozenset(permit.methods)
            if connections:
                literal[""] = methods
                continue
            for path in permit.paths:
                if opaque_paths and path != EVERYTHING:
                    continue
                if path.rest or None in path.segments:
                    patterns.append((path, methods))
                else:
                    literal[str(path)] = literal.get(str(path), NO_METHODS) | methods
        token = TokenNeeded.of(rule.token, issuers) if rule.token is not None else None
        return cls(rule, literal, tuple(patterns), token, tuple(elsewhere))

    def permits(self, method: str, path: str) -> bool:
        """Whether it allows a method on a path."""
        if method in self.literal.get(path, NO_METHODS):
            return True
        return self.permits_parts(method, path[1:].split("/")) if self.patterns and path[:1] == "/" else False

    def permits_parts(self, method: str, parts: Sequence[str]) -> bool:
        """Whether one of its patterns allows a method on a path that was split at its slashes."""
        for pattern, methods in self.patterns:  # noqa: SIM110 - who is denied has all rules of a destination asked
            if method in methods and pattern.fits(parts):
                return True
        return False

    def methods_on(self, path: str) -> Methods:
        """All methods that the rule allows on a path; none where no path of it fits."""
        found = self.literal.get(path, NO_METHODS)
        for pattern, methods in self.patterns:
            if not methods <= found and pattern.matches(path):
                found |= methods
        return found

    def ports_on(self, path: str) -> tuple[int, ...]:
        """The ports, none of them the service's, that it speaks of for a path."""
        ports = {
            port
            for permit in self.elsewhere
            if not path or any(p.matches(path) for p in permit.paths)
            for port in permit.ports
        }
        return tuple(sorted(ports))
