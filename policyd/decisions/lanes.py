"""The way of most requests: a caller whose rules ask for method and path alone is answered by a look-up.

A lane is made of the same compiled rules that `Destination.obstacle` compares one by one, and says no more than which
of them is the first to allow. Who asks why is always told by the comparisons themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policyd.decisions.compiled import CompiledRule, Methods
from policyd.model.access import Mode
from policyd.model.paths import PathPattern

NONE = -1
"""No rule."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The rules that name one caller: by literal path and method the first one, then patterns in order of rules."""

    literal: Mapping[str, Mapping[str, int]]
    patterns: tuple[tuple[int, PathPattern, Methods], ...]

    @classmethod
    def of(cls, rules: Iterable[tuple[int, CompiledRule]]) -> Lane | None:
        """The lane of these rules with their positions, in order; `None` where one of them asks for anything more."""
        literal: dict[str, dict[str, int]] = {}
        patterns: list[tuple[int, PathPattern, Methods]] = []
        for position, compiled in rules:
            if not _unconditional(compiled):
                return None
            for path, methods in compiled.literal.items():
                first = literal.setdefault(path, {})
                for method in methods:
                    first.setdefault(method, position)
            patterns += [(position, pattern, methods) for pattern, methods in compiled.patterns]
        return cls(literal, tuple(patterns))

    def first(self, method: str, path: str) -> int:
        """The position of the first rule that allows a method on a canonical path, or `NONE`."""
        methods = self.literal.get(path)
        found = NONE if methods is None else methods.get(method, NONE)
        if self.patterns:
            parts = path[1:].split("/")
            for position, pattern, allowed in self.patterns:
                if NONE < found <= position:
                    break
                if method in allowed and pattern.fits(parts):
                    return position
        return found


def _unconditional(compiled: CompiledRule) -> bool:
    rule = compiled.rule
    return rule.mode is Mode.ENFORCE and rule.expires is None and compiled.token is None
