"""The one path grammar of access rules and routes.

Literal segments match exactly, `{name}` matches one segment (one or more bytes but `/`), a last `/**` matches
the rest: `/v2/**` matches `/v2`, `/v2/` and everything below, not `/v2x`. There are no regular expressions, so
that sets of paths stay decidable and no proxy's dialect matters.

A *canonical* path is matched as it was received; every other path is refused with 400 before any rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+")
_CAPTURE = re.compile(r"\{[a-z][a-z0-9_-]*\}")
# An escape must be upper-case hex of a byte that needs it: unreserved bytes and `! $ & ' ( ) * + , = : @`
# travel unescaped, and `%2F %5C %00 %2E` are never carried (another parser may undo them).
# Runs of plain bytes and escapes, none of them ever given back: linear, and asked for every request.
_CANONICAL = re.compile(
    r"/[A-Za-z0-9._~!$&'()*+,=:@/-]*+"
    r"(?:%(?:0[1-9A-F]|1[0-9A-F]|2[0235]|3[BCEF]|5[BDE]|60|7[BCDF]|[89A-F][0-9A-F])"
    r"[A-Za-z0-9._~!$&'()*+,=:@/-]*+)*+"
)
_VISIBLE = re.compile(r"[!\"$-~]*")


class PathSyntaxError(ValueError):
    """A pattern outside the grammar; the message is in the user's words."""


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A parsed pattern. `segments` holds literals, and `None` for each `{name}`; `rest` marks a last `/**`."""

    segments: tuple[str | None, ...]
    rest: bool

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Read a pattern such as `/v1/orders/{id}` or `/v2/**`.

        Raises `PathSyntaxError` where the text is outside the grammar.
        """
        if not text.startswith("/"):
            raise PathSyntaxError(f"path `{text}` does not start with `/`")
        body = text[1:]
        rest = body == "**" or body.endswith("/**")
        if rest:
            body = body[:-3] if body.endswith("/**") else ""
            if not body:
                return cls((), rest=True)
        pieces = body.split("/")
        return cls(tuple(_segment(text, piece, last=i == len(pieces) - 1) for i, piece in enumerate(pieces)), rest)

    def matches(self, path: str) -> bool:
        """Whether a canonical path (without its query) is in this set."""
        return path.startswith("/") and self.fits(path[1:].split("/"))

    def fits(self, parts: Sequence[str]) -> bool:
        """The same for a path that was split at its slashes, without what stands before the first."""
        if len(parts) != len(self.segments) and not (self.rest and len(parts) > len(self.segments)):
            return False
        for segment, part in zip(self.segments, parts, strict=False):  # a loop: this is asked for every request
            if segment != part and (segment is not None or not part):
                return False
        return True

    def covers(self, other: PathPattern) -> bool:
        """Whether every path of `other` is in this set, too."""
        head = len(self.segments)
        if self.rest:
            return len(other.segments) >= head and all(map(_fits, self.segments, other.segments))
        return not other.rest and len(other.segments) == head and all(map(_fits, self.segments, other.segments))

    def overlaps(self, other: PathPattern) -> bool:
        """Whether some path is in both sets."""
        for mine, theirs in zip(self.segments, other.segments, strict=False):
            if not (_fits(mine, theirs) or _fits(theirs, mine)):
                return False
        longer = len(self.segments) - len(other.segments)
        return longer == 0 or (other.rest if longer > 0 else self.rest)

    def __str__(self) -> str:
        body = "/".join("{any}" if segment is None else segment for segment in self.segments)
        if self.rest:
            return f"/{body}/**" if self.segments else "/**"
        return f"/{body}"


def _segment(pattern: str, piece: str, *, last: bool) -> str | None:
    if _CAPTURE.fullmatch(piece):
        return None
    if piece == "" and last:
        return ""  # a trailing slash is a segment of its own: `/v1/` is not `/v1`
    if piece in {"", ".", ".."}:
        raise PathSyntaxError(f"path `{pattern}` has an empty, `.` or `..` segment: no request can match it")
    if "{" in piece or "}" in piece:
        raise PathSyntaxError(f"`{piece}` in path `{pattern}` is neither a literal nor a whole `{{name}}`")
    if "**" in piece:
        raise PathSyntaxError(f"`**` in path `{pattern}` stands only alone, as the last segment")
    if not _LITERAL.fullmatch(piece) or not is_canonical_path("/" + piece):
        raise PathSyntaxError(f"`{piece}` in path `{pattern}` can never be in a canonical request")
    return piece


def _fits(segment: str | None, part: str | None) -> bool:
    """Whether a segment of a pattern takes what stands there: a part of a path, or another pattern's segment."""
    return part != "" if segment is None else part == segment


def is_canonical_path(path: str) -> bool:
    """Whether a request path (without query) is canonical; the proxies answer 400 where it is not."""
    if not _CANONICAL.fullmatch(path) or "//" in path:
        return False
    return "/." not in path or not any(part in {".", ".."} for part in path.split("/"))


def is_opaque_path(path: str) -> bool:
    """Whether a request path (without query) can be carried where paths are opaque: it is not looked into."""
    return path.startswith("/") and is_canonical_query(path)


def is_canonical_query(query: str) -> bool:
    """Whether a query is visible ASCII without `#`. No rule looks at it; a proxy that meets the rest refuses it."""
    return _VISIBLE.fullmatch(query) is not None


EVERYTHING = PathPattern((), rest=True)
"""`/**`: every path."""
