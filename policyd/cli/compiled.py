"""The mesh, compiled for every one of its nodes: what `compile` writes, `diff` compares and `check` asks about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from policyd.base.diagnostics import Finding, Location, Severity, in_order
from policyd.base.errors import UsageError
from policyd.compiler import registry
from policyd.compiler.artifact import Compiled, Loss
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Compiler, Foresees
from policyd.guardrails.acceptances import Acceptances
from policyd.model.mesh import Mesh
from policyd.model.node import Node, nodes
from policyd.model.provenance import Key, Provenance

TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", help="Compile for this data plane instead of the mesh's own; may be repeated."),
]


@dataclass(frozen=True, slots=True)
class CompiledNode:
    """One node's configuration, and the compiler that wrote it."""

    node: Node
    compiler: Compiler
    compiled: Compiled


def compile_mesh(mesh: Mesh, memo: Memo | None = None, targets: Sequence[str] = ()) -> tuple[CompiledNode, ...]:
    """Every node of the mesh as it is at rest, compiled for its own data planes or for `targets` instead.

    Raises `UsageError` where a compiler is not installed.
    """
    memo = memo if memo is not None else Memo()
    return tuple(
        CompiledNode(node, compiler, compiler.compile(mesh, node, memo))
        for compiler in planes(mesh, targets)
        for node in nodes(mesh)
    )


def planes(mesh: Mesh, targets: Sequence[str] = ()) -> tuple[Compiler, ...]:
    """The compilers of the mesh's own data planes, or those of `targets` instead.

    Raises `UsageError` where one is not installed.
    """
    names = targets or [plane.compiler for plane in mesh.settings.data_planes]
    return tuple(registry.load(name) for name in dict.fromkeys(names))


def foreseen(
    mesh: Mesh, provenance: Mapping[Key, Provenance], accepted: Acceptances, targets: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """What gets lost in compilation, as `losses` says it; compiled only where the compiler cannot tell before.

    What is `accepted` is noted besides; that something is not needed, only for the mesh's own data planes. Raises
    `UsageError` where a compiler is not installed.
    """
    found: dict[Loss, None] = {}
    for compiler in planes(mesh, targets):
        if isinstance(compiler, Foresees):
            found |= dict.fromkeys(compiler.losses(mesh))
        else:
            memo = Memo()
            found |= dict.fromkeys(loss for node in nodes(mesh) for loss in compiler.compile(mesh, node, memo).losses)
    findings = [_finding(loss, provenance, accepted) for loss in found]
    notes = [note for note in accepted.notes() if note.severity is Severity.INFO or not targets]
    return in_order((*findings, *notes))


def only(compiled: tuple[CompiledNode, ...], node_id: str | None) -> tuple[CompiledNode, ...]:
    """Those of one node, or of a service or version by the beginning of the id.

    Raises `UsageError` naming some nodes where there is none.
    """
    if node_id is None:
        return compiled
    found = tuple(one for one in compiled if one.node.id == node_id or one.node.id.startswith(f"{node_id}/"))
    if not found:
        some = ", ".join(f"`{one.node.id}`" for one in compiled[:5])
        raise UsageError(f"no node `{node_id}` in the mesh", hint=f"for example {some}" if some else "")
    return found


def losses(
    compiled: tuple[CompiledNode, ...], provenance: Mapping[Key, Provenance], accepted: Acceptances
) -> tuple[Finding, ...]:
    """What got lost in compilation, each loss once, at the place of the intent that it is about."""
    return in_order(_finding(loss, provenance, accepted) for loss in _distinct(compiled))


def _distinct(compiled: tuple[CompiledNode, ...]) -> Iterator[Loss]:
    yield from dict.fromkeys(loss for one in compiled for loss in one.compiled.losses)


def _finding(loss: Loss, provenance: Mapping[Key, Provenance], accepted: Acceptances) -> Finding:
    known = provenance.get(loss.about)
    location = known.location if known is not None else Location(".")
    return accepted.heeded(loss, Finding(loss.code, loss.severity, loss.message, location, loss.hint))
