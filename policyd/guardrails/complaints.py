"""What the embedded engine says of rules that it cannot read, in words: where in which file, and what is wrong.

Its own words are a tree of syntax with offsets in bytes. Asked by `embedded` before it stalls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from policyd.guardrails.bundle import Module

_ERROR = re.compile(
    r"\(error \d+:(?P<path>[^|]*)\|(?P<offset>\d+)\|\d+\s*\(errormsg (?P<length>\d+):(?P<rest>.*)", re.DOTALL
)


def readable(said: str, modules: Iterable[Module]) -> str:
    """The first complaint with file, line and column; `said` as it is where it is none about a file.

    Lines and columns are counted from one, columns in characters.
    """
    found = _ERROR.search(said)
    text = {module.path: module.text for module in modules}.get(found["path"]) if found is not None else None
    if found is None or text is None:
        return said
    before = text.encode()[: int(found["offset"])].decode(errors="replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    words = found["rest"][: int(found["length"])]
    return f"it cannot read `{found['path']}:{line}:{column}`: {words[:1].lower()}{words[1:]}"
