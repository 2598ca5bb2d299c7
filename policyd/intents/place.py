"""Where every value of a document stands in its file."""

from __future__ import annotations

from policyd.base.diagnostics import Finding, Location, Severity

Step = str | int


class Place:
    """A value's span, and the places inside it. Lines and columns count from 0, as the parser counts."""

    __slots__ = ("column", "end_column", "end_line", "items", "keys", "line", "values")

    def __init__(self, line: int, column: int, end_line: int, end_column: int) -> None:
        self.line = line
        self.column = column
        self.end_line = end_line
        self.end_column = end_column
        self.keys: dict[str, Place] = {}
        self.values: dict[str, Place] = {}
        self.items: list[Place] = []

    def child(self, step: Step) -> Place | None:
        """The place of a mapping's value or a list's item."""
        if isinstance(step, str):
            return self.values.get(step)
        return self.items[step] if 0 <= step < len(self.items) else None

    def find(self, path: tuple[Step, ...]) -> Place:
        """The place at `path`; where the file does not go that deep, the key of the nearest value around it."""
        place, label = self, self
        for step in path:
            inner = place.child(step)
            if inner is None:
                return label
            label = place.keys.get(step, inner) if isinstance(step, str) else inner
            place = inner
        return place

    def find_key(self, path: tuple[Step, ...]) -> Place:
        """The place of the key (or of the list item) that `path` ends with."""
        if not path:
            return self
        around = self.find(path[:-1])
        last = path[-1]
        if isinstance(last, str) and last in around.keys:
            return around.keys[last]
        return self.find(path)


class Source:
    """The text of one file, for findings that quote it."""

    __slots__ = ("lines", "path")

    def __init__(self, path: str, lines: tuple[str, ...]) -> None:
        self.path = path
        self.lines = lines

    def location(self, place: Place) -> Location:
        """The place for people, counted from 1."""
        return Location(self.path, place.line + 1, place.column + 1)

    def finding(
        self, code: str, message: str, place: Place, *, hint: str = "", severity: Severity = Severity.ERROR
    ) -> Finding:
        """A finding about a place, with the line that it stands in."""
        excerpt = self.lines[place.line] if place.line < len(self.lines) else ""
        end = place.end_column if place.end_line == place.line else len(excerpt.rstrip())
        return Finding(
            code=code,
            severity=severity,
            message=message,
            location=self.location(place),
            hint=hint,
            excerpt=excerpt,
            width=max(1, end - place.column),
        )
