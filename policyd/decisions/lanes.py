"""The way of most requests: a caller whose rules ask for method and path alone is answered by a look-up.

A lane is made of the same compiled rules that `Destination.obstacle` compares one by one, and says no more than which
of them is the first to allow. Who asks why is always told by the comparisons themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from policyd.decisions.compiled import CompiledRule, Methods
from policyd.model.access import Mode
from policyd.model.paths import PathPattern, is_canonical_path

NONE = -1
"""No rule."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Rules by what they allow, each time the first of them; a key is a method and a path, written together."""

    literal: Mapping[str, int]
    """Its paths are canonical, or that of a connection, which has none."""
    last: Mapping[str, int]
    """Patterns of which only the last segment is open: by what stands before its slash."""
    patterns: tuple[tuple[int, PathPattern, Methods], ...]
    """All others, in order of rules."""

    @classmethod
    def of(cls, position: int, compiled: CompiledRule) -> Lane | None:
        """The lane of one rule; `None` where it asks for more than method and path."""
        rule = compiled.rule
        if rule.mode is not Mode.ENFORCE or rule.expires is not None or compiled.token is not None:
            return None
        last: dict[str, int] = {}
        patterns: list[tuple[int, PathPattern, Methods]] = []
        for pattern, methods in compiled.patterns:
            before = _before_last(pattern)
            if before is None:
                patterns.append((position, pattern, methods))
            else:
                last.update((method + before, position) for method in methods)
        literal = {
            method + path: position
            for path, methods in compiled.literal.items()
            if not path or is_canonical_path(path)  # a request that has another one is refused before
            for method in methods
        }
        return cls(literal, last, tuple(patterns))

    @classmethod
    def joined(cls, lanes: Sequence[Lane]) -> Lane:
        """The lane of several rules, whose own lanes are in order of position."""
        if len(lanes) == 1:
            return lanes[0]
        return cls(
            _firsts(lane.literal for lane in lanes),
            _firsts(lane.last for lane in lanes),
            tuple(pattern for lane in lanes for pattern in lane.patterns),
        )

    def first(self, method: str, path: str) -> int:
        """The position of the first rule that allows a method on a canonical path, or `NONE`."""
        found = self.literal.get(method + path, NONE)
        if self.last:
            before, _, last = path.rpartition("/")
            if last:
                other = self.last.get(method + before, NONE)
                if other != NONE and (found == NONE or other < found):
                    found = other
        if self.patterns:
            parts = path[1:].split("/")
            for position, pattern, allowed in self.patterns:
                if NONE < found <= position:
                    break
                if method in allowed and pattern.fits(parts):
                    return position
        return found


def _before_last(pattern: PathPattern) -> str | None:
    """What stands before the last segment's slash, where that segment is the only one that is open."""
    *before, last = pattern.segments or ("",)
    if pattern.rest or last is not None or None in before:
        return None
    return "".join(f"/{segment}" for segment in before)


def _firsts(rules: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in rules:
        for key, position in each.items():
            found.setdefault(key, position)
    return found
