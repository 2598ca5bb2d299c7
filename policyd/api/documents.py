"""The documents of decisions by path, the same ones in the management API and in decision servers.

A table, so that no segment of a path ever becomes part of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ParamSpec

P = ParamSpec("P")
PARTS = ("allow", "outcome", "rule", "status", "reason", "would", "reasons", "place", "owner", "commit")
"""What a whole answer has, `policyd/authz`."""


def documents(authz: Callable[P, Mapping[str, object]]) -> dict[str, Callable[P, object]]:
    """Every document by its path, without the slashes around it; `authz` gives the whole answer."""

    def part(name: str) -> Callable[P, object]:
        return lambda *args, **named: authz(*args, **named)[name]

    return {
        "": lambda *args, **named: {"policyd": {"authz": authz(*args, **named)}},
        "policyd": lambda *args, **named: {"authz": authz(*args, **named)},
        "policyd/authz": authz,
        **{f"policyd/authz/{name}": part(name) for name in PARTS},
    }
