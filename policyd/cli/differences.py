"""What differs between two compiled meshes: hunks of rendered configuration, each shown once for all its nodes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from policyd.cli.compiled import CompiledNode
from policyd.compiler.artifact import Artifact
from policyd.compiler.protocol import Compiler

_CONTEXT = 3
_Slot = tuple[str, str]
"""Kind and name of a resource on a node."""


@dataclass(slots=True)
class Difference:
    """One change of configuration, wherever it happens: equal for every node and resource that is listed."""

    compiler: str
    kind: str
    sign: str
    """`+` for a resource that is new on its node, `-` for one that is gone, `~` for one that changed."""
    lines: tuple[str, ...]
    """A unified diff without its two heading lines."""
    names: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)

    @property
    def added(self) -> int:
        """Lines that are new."""
        return sum(line.startswith("+") for line in self.lines)

    @property
    def removed(self) -> int:
        """Lines that are gone."""
        return sum(line.startswith("-") for line in self.lines)


@dataclass(frozen=True, slots=True)
class Differences:
    """All of it: nodes that come and go, and what changes on those that stay."""

    nodes_added: tuple[str, ...]
    nodes_removed: tuple[str, ...]
    on_nodes: tuple[Difference, ...]
    unchanged: int
    """Nodes whose configuration is the same, byte for byte."""


def differences(base: Sequence[CompiledNode], head: Sequence[CompiledNode]) -> Differences:
    """Compare two compilations node by node. What is equal by version is never rendered."""
    before = {(one.compiler.name, one.node.id): one for one in base}
    after = {(one.compiler.name, one.node.id): one for one in head}
    both = [key for key in after if key in before]
    groups: dict[tuple[str, str, str, tuple[str, ...]], Difference] = {}
    texts: dict[tuple[str, str], tuple[str, ...]] = {}
    touched = 0
    for key in both:
        pairs = list(_changed(before[key], after[key]))
        touched += bool(pairs)
        for (kind, name), old, new in pairs:
            versions = (old.version if old else "", new.version if new else "")
            if versions not in texts:
                texts[versions] = _hunks(after[key].compiler, old, new)
            sign = "~" if old and new else "+" if new else "-"
            group = (key[0], kind, sign, texts[versions])
            difference = groups.setdefault(group, Difference(key[0], kind, sign, texts[versions]))
            _note(difference, name, key[1])
    return Differences(
        nodes_added=tuple(sorted(node for compiler, node in after if (compiler, node) not in before)),
        nodes_removed=tuple(sorted(node for compiler, node in before if (compiler, node) not in after)),
        on_nodes=tuple(sorted(groups.values(), key=lambda one: (one.compiler, one.kind, one.names, one.sign))),
        unchanged=len(both) - touched,
    )


def _changed(base: CompiledNode, head: CompiledNode) -> Iterator[tuple[_Slot, Artifact | None, Artifact | None]]:
    before = {(artifact.kind, artifact.name): artifact for artifact in base.compiled.artifacts}
    after = {(artifact.kind, artifact.name): artifact for artifact in head.compiled.artifacts}
    for slot in sorted(before.keys() | after.keys()):
        old, new = before.get(slot), after.get(slot)
        if old is None or new is None or old.version != new.version:
            yield slot, old, new


def _hunks(compiler: Compiler, old: Artifact | None, new: Artifact | None) -> tuple[str, ...]:
    before = compiler.render(old).splitlines() if old is not None else []
    after = compiler.render(new).splitlines() if new is not None else []
    return tuple(difflib.unified_diff(before, after, lineterm="", n=_CONTEXT))[2:]


def _note(difference: Difference, name: str, node: str) -> None:
    if name not in difference.names:
        difference.names.append(name)
    if node not in difference.nodes:
        difference.nodes.append(node)
