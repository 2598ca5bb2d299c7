"""The target of a request: in either form that a client may send (RFC 9112, sections 3.2.1 and 3.2.2), decoded once.

Only what the table of plain paths does not know comes here.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_ABSOLUTE = re.compile(rb"(?i)https?://(?:[^/?#@\s]*@)?(?:\[[0-9a-f:.]*\]|[^/?#@:\[\]\s]*)(?::[0-9]*)?(?=[/?#]|\Z)")
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LEFT_AS_IT_IS = re.compile(rb"[^\x21-\x7e]|[/\\]")
"""What an escape may stand for and does not become: another segment, or what nobody sees."""


class TargetError(ValueError):
    """Not a target; the message is in the client's words."""


class Target(NamedTuple):
    """`sent` is in origin form as it was sent; `path` is the same for the eye, with what is escaped needlessly."""

    sent: bytes
    path: str
    query: bytes


def read_target(target: bytes) -> Target:
    """What a target asks for, whoever it says is asked: we are. Raises `TargetError`."""
    found = _ABSOLUTE.match(target)
    if found is not None:
        rest = target[found.end() :]
        target = rest if rest.startswith(b"/") else b"/" + rest
    path, _, query = target.partition(b"?")
    if not path.isascii():
        raise TargetError("a target is ASCII")
    if b"%" in path:
        if _ESCAPE.search(path):
            raise TargetError("`%` is followed by two hexadecimal digits")
        path = b"/".join(map(_decoded, path.split(b"/")))
    return Target(target, path.decode("ascii"), query)


def _decoded(segment: bytes) -> bytes:
    """A segment without escapes that say nothing else; what would become `.`, `..` or two segments stays."""
    decoded = unquote_to_bytes(segment)
    return segment if decoded in {b".", b".."} or _LEFT_AS_IT_IS.search(decoded) else decoded
