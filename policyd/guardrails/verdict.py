"""What the rules said, read with suspicion: package trees to reports about documents.

A report that cannot be understood is not dropped: it would be a rule that never speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policyd.guardrails.engine import Json

FAILING = frozenset({"deny", "violation"})
WARNING = frozenset({"warn"})
Step = str | int
LONGEST = 1_000
"""Characters of a message or a hint that are kept."""


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that one rule said. `document` is -1 where it named none (or none that exists)."""

    package: str
    warns: bool
    message: str
    document: int = -1
    path: tuple[Step, ...] = ()
    hint: str = ""


def reports(results: Json) -> Iterator[Report]:
    """Every report in the trees of an engine's answer."""
    for root, tree in results.items():
        yield from _in_tree(root, tree)


def _in_tree(package: str, tree: Any) -> Iterator[Report]:
    if not isinstance(tree, Mapping):
        return
    for name, value in tree.items():
        if name in FAILING or name in WARNING:
            said = value if isinstance(value, list) else [value]
            yield from (_report(package, name in WARNING, item) for item in said)
        else:
            yield from _in_tree(f"{package}.{name}", value)


def _report(package: str, warns: bool, said: Any) -> Report:
    if isinstance(said, str):
        return Report(package, warns, _short(said))
    if not isinstance(said, Mapping) or not isinstance(said.get("msg"), str):
        return Report(package, warns, f"`{package}` objects, and does not say why")
    document, path, hint = said.get("document", -1), said.get("path", []), said.get("hint", "")
    return Report(
        package,
        warns,
        _short(said["msg"]),
        document if isinstance(document, int) and not isinstance(document, bool) else -1,
        tuple(path) if isinstance(path, list) and all(isinstance(step, str | int) for step in path) else (),
        _short(hint) if isinstance(hint, str) else "",
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
