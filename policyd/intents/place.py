"""Where every value of a document stands in its file.

A mesh has hundreds of thousands of places, so a leaf is a plain tuple of four numbers, which costs the garbage
collector nothing, and only mappings and lists are objects.
"""

from __future__ import annotations

from policyd.base.diagnostics import Finding, Location, Severity

Step = str | int
Span = tuple[int, int, int, int]
"""Line and column of the beginning, line and column of the end; counted from 0, as the parser counts."""


class Branch:
    """The place of a mapping or list: its span, the spans of its keys, and the places inside."""

    __slots__ = ("inside", "keys", "span")

    def __init__(self, span: Span, *, is_mapping: bool) -> None:
        self.span = span
        self.keys: dict[str, Span] = {}
        self.inside: dict[str, Place] | list[Place] = {} if is_mapping else []

    def child(self, step: Step) -> Place | None:
        """The place of a mapping's value or a list's item."""
        if isinstance(self.inside, dict):
            return self.inside.get(step) if isinstance(step, str) else None
        return self.inside[step] if isinstance(step, int) and 0 <= step < len(self.inside) else None

    def add(self, key: str | None, place: Place) -> None:
        """Put a value behind its key, or at the end of the list."""
        if isinstance(self.inside, dict):
            self.inside[key or ""] = place
        else:
            self.inside.append(place)

    def last(self) -> Place | None:
        """The place of the last value, if there is one."""
        values = list(self.inside.values()) if isinstance(self.inside, dict) else self.inside
        return values[-1] if values else None


Place = Span | Branch


def span_of(place: Place) -> Span:
    """From where to where a value goes."""
    return place.span if isinstance(place, Branch) else place


def find(place: Place, path: tuple[Step, ...]) -> Span:
    """The span at `path`; where the file does not go that deep, the key of the nearest value around it."""
    label = span_of(place)
    for step in path:
        inner = place.child(step) if isinstance(place, Branch) else None
        if inner is None:
            return label
        label = span_of(inner)
        if isinstance(place, Branch) and isinstance(step, str):
            label = place.keys.get(step, label)
        place = inner
    return span_of(place)


def find_key(place: Place, path: tuple[Step, ...]) -> Span:
    """The span of the key (or of the list item) that `path` ends with."""
    around: Place | None = place
    for step in path[:-1]:
        around = around.child(step) if isinstance(around, Branch) else None
    last = path[-1] if path else None
    if isinstance(around, Branch) and isinstance(last, str) and last in around.keys:
        return around.keys[last]
    return find(place, path)


class Source:
    """The text of one file, for findings that quote it."""

    __slots__ = ("lines", "path")

    def __init__(self, path: str, lines: tuple[str, ...]) -> None:
        self.path = path
        self.lines = lines

    def location(self, span: Span) -> Location:
        """The place for people, counted from 1; what the parser misses after the last line stands at its end."""
        line, column = span[:2]
        if line >= len(self.lines) > 0:
            line, column = len(self.lines) - 1, len(self.lines[-1])
        return Location(self.path, line + 1, column + 1)

    def finding(
        self, code: str, message: str, span: Span, *, hint: str = "", severity: Severity = Severity.ERROR
    ) -> Finding:
        """A finding about a place, with the line that it stands in."""
        line, column, end_line, end_column = span
        where = self.location(span)
        excerpt = self.lines[where.line - 1] if self.lines else ""
        end = end_column if end_line == line else len(excerpt.rstrip())
        return Finding(
            code=code,
            severity=severity,
            message=message,
            location=where,
            hint=hint,
            excerpt=excerpt,
            width=max(1, end - column),
        )
