"""Makes what each node gets: its mesh through the compiler, and its secrets, gathered into one snapshot.

The memo lives here, because who calls the compiler owns it: a commit that changes one service compiles what that
service touches, for any number of nodes. A snapshot whose mesh and secrets are the same objects as before is the
same snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from policyd.compiler.artifact import Artifact
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Compiler
from policyd.delivery.snapshot import NodeSnapshot, consistent, reference_reader
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node

Secrets = Callable[[Name], tuple[Artifact, ...]]
"""The secrets of a service's nodes; the same tuple for as long as they are the same."""
CompilerOf = Callable[[str], Compiler]
"""The compiler of that name, as a mesh's settings write it."""
REMEMBERED = 100_000
"""Parts that are compiled before the memo forgets those that nobody asked for meanwhile."""


class Assembly:
    """Turns a mesh per node into a snapshot per node."""

    def __init__(self, compiler_of: CompilerOf, secrets: Secrets) -> None:
        self._compiler_of = compiler_of
        self._secrets = secrets
        self._memo = Memo()
        self._aged_at = 0
        self._read = reference_reader(self._memo)
        self._known: dict[str, tuple[Mesh, Node, tuple[Artifact, ...], NodeSnapshot]] = {}

    @property
    def compiled(self) -> int:
        """How many parts were really compiled so far: a figure for tests and `/metrics`."""
        return self._memo.builds

    def snapshots(self, nodes: Iterable[Node], mesh_for: Callable[[Node], Mesh]) -> Mapping[str, NodeSnapshot]:
        """The snapshot of every node, by node id; those of nodes that are gone are forgotten."""
        fresh: dict[str, tuple[Mesh, Node, tuple[Artifact, ...], NodeSnapshot]] = {}
        for node in nodes:
            mesh, secrets = mesh_for(node), self._secrets(node.service)
            known = self._known.get(node.id)
            if known is not None and known[0] is mesh and known[1] == node and known[2] is secrets:
                fresh[node.id] = known
            else:
                fresh[node.id] = (mesh, node, secrets, self._snapshot(mesh, node, secrets))
        self._known = fresh
        self._age()
        return {node_id: entry[-1] for node_id, entry in fresh.items()}

    def faults(self, snapshot: NodeSnapshot) -> tuple[str, ...]:
        """What is wrong with a snapshot as a whole; empty means that it may be sent."""
        return consistent(snapshot, self._read)

    def _age(self) -> None:
        """Bound the memo: a part that is asked for again after being forgotten is compiled again, no more."""
        if self._memo.builds - self._aged_at > REMEMBERED:
            self._aged_at = self._memo.builds
            self._memo.age()

    def _snapshot(self, mesh: Mesh, node: Node, secrets: tuple[Artifact, ...]) -> NodeSnapshot:
        # A mesh has one kind of sidecar until nodes can be selected for several.
        compiler = self._compiler_of(mesh.settings.data_planes[0].compiler)
        return NodeSnapshot.of(node.id, (*compiler.compile(mesh, node, self._memo).artifacts, *secrets))
