"""What a finding's code means: the shape of the tables that every stage keeps beside its checks.

A stage that makes findings has a module `codes` with one constant table, made by `table`. Nobody registers
anything: who needs all codes (`policyd explain PD1103`, the documentation, the tests) merges the tables it knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_CODE = re.compile(r"PD[1-9][0-9]{3}")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One code, for people: `title` fits a table, `text` is a paragraph that says why, and what to do."""

    code: str
    title: str
    text: str


def table(*explanations: Explanation) -> Mapping[str, Explanation]:
    """The explanations by code, in order of code. Raises `ValueError` for a malformed or repeated code."""
    by_code: dict[str, Explanation] = {}
    for explanation in sorted(explanations, key=lambda e: e.code):
        if not _CODE.fullmatch(explanation.code):
            raise ValueError(f"`{explanation.code}` is not a finding code")
        if explanation.code in by_code:
            raise ValueError(f"`{explanation.code}` is explained twice")
        by_code[explanation.code] = explanation
    return MappingProxyType(by_code)
