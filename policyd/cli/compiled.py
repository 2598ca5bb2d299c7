"""The mesh, compiled for every one of its nodes: what `compile` writes, `diff` compares and `check` asks about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from policyd.base.diagnostics import Finding
from policyd.base.errors import UsageError
from policyd.compiler import registry
from policyd.compiler.artifact import Compiled
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Compiler
from policyd.guardrails.losses import Told
from policyd.model.mesh import Mesh
from policyd.model.node import Node, nodes

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


def losses(compiled: tuple[CompiledNode, ...], told: Told) -> tuple[Finding, ...]:
    """What got lost in compilation, each loss once, at the place of the intent that it is about."""
    return told.findings(loss for one in compiled for loss in one.compiled.losses)
