"""What a rule of a route does to requests besides choosing where they go."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.model.names import Name
from policyd.model.paths import PathPattern


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of a share (basis points) of the requests goes there as well; nobody waits for its answer.

    A version of the route's own service, or the version of another service that serves at that time.
    """

    share: int
    version: str = ""
    service: Name | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Trouble on purpose, for shares (basis points) of the requests: late answers, or nothing but a status."""

    delay_ms: int = 0
    delay_share: int = 0
    abort_status: int = 0
    abort_share: int = 0


@dataclass(frozen=True, slots=True)
class Redirect:
    """The client is sent elsewhere; what is empty stays as it was asked for, and so does the query."""

    code: int
    scheme: str = ""
    host: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the callee sees in place of what was asked: `path` for the part that the rule's pattern spells out."""

    path: str = ""
    host: str = ""

    def arriving(self, pattern: PathPattern) -> PathPattern:
        """What arrives at the callee of the paths that `pattern` means."""
        if not self.path:
            return pattern
        literal = self.path.strip("/").split("/") if self.path != "/" else []
        return PathPattern(tuple(literal), rest=True) if pattern.rest else PathPattern.parse(self.path)


def rewritten(path: str, pattern: PathPattern, to: str) -> str:
    """A path (without its query) of `pattern` as it arrives: the reference for every data plane."""
    if not pattern.rest:
        return to
    rest = path.removeprefix("".join(f"/{segment}" for segment in pattern.segments))
    return to + rest if to != "/" else rest or "/"
