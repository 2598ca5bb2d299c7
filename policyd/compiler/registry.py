"""Finds compilers by the entry-point group `policyd.compilers`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

from policyd.base.errors import UsageError
from policyd.compiler.protocol import Compiler

GROUP = "policyd.compilers"


def installed() -> dict[str, EntryPoint]:
    """The entry points of every installed compiler, by name; nothing is loaded yet."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def load(name: str) -> Compiler:
    """The compiler of that name. Raises `UsageError` naming the installed ones if there is none."""
    points = installed()
    if name not in points:
        known = ", ".join(f"`{known}`" for known in points) or "none"
        raise UsageError(f"no compiler `{name}` is installed", hint=f"installed: {known}")
    return cast("Compiler", points[name].load())
