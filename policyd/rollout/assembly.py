"""Makes what each node gets: its mesh through the compiler, and its secrets, gathered into one snapshot.

The memo lives here, because who calls the compiler owns it: a commit that changes one service compiles what that
service touches, for any number of nodes. Every round asks for every node, so that a generation of the memo holds
all that is in use and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from policyd.compiler.artifact import Artifact
from policyd.compiler.memo import Memo, Same
from policyd.compiler.protocol import Compiler, Narrows
from policyd.delivery.snapshot import NodeSnapshot, consistent, reference_reader
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node, service_of
from policyd.plan.places import Places, reaching

Secrets = Callable[[Name], tuple[Artifact, ...]]
"""The secrets of a service's nodes; the same tuple for as long as they are the same."""
Certificates = Callable[[], Mapping[str, Artifact]]
"""The secrets that gateways show to clients, by the certificate's name; the same mapping while they are the same."""
CompilerOf = Callable[[str], Compiler]
"""The compiler of that name, as a mesh's settings write it."""
REFERENCES = 20_000
"""Artefacts whose references are read before those that nobody asked for are forgotten."""


class Assembly:
    """Turns a mesh per node into a snapshot per node. Not for two threads at a time."""

    def __init__(
        self,
        compiler_of: CompilerOf,
        secrets: Secrets,
        places: Places | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        """`places`: how the things are reached that a mesh only names. Without `certificates` none is missed."""
        self._places = places or Places()
        self._certificates = certificates
        self._compiler_of = compiler_of
        self._secrets = secrets
        self._compilers: dict[str, Compiler] = {}
        self._memo = Memo()
        self._references = Memo()
        self._read = reference_reader(self._references)
        self._aged_at = 0

    @property
    def compiled(self) -> int:
        """How many resources were really compiled so far: a figure for tests and `/metrics`."""
        return self._memo.builds

    def snapshots(self, nodes: Iterable[Node], mesh_for: Callable[[Node], Mesh]) -> Mapping[str, NodeSnapshot]:
        """The snapshot of every node, by node id. What did not change is the very same snapshot as before."""
        found = {node.id: self._snapshot(mesh_for(node), node, self._secrets(node.service)) for node in nodes}
        self._memo.age()
        return found

    def anew(self, secrets: Secrets) -> Assembly:
        """One that remembers nothing, with the same compilers: for the self-check, in a thread of its own."""
        return Assembly(self._compiler_of, secrets, self._places, self._certificates)

    def secrets_of(self, nodes: Iterable[Node]) -> Mapping[Name, tuple[Artifact, ...]]:
        """The secrets that these nodes are given now, by service."""
        return {service: self._secrets(service) for service in {node.service for node in nodes}}

    def forget(self) -> None:
        """Compile everything anew from here on."""
        builds = self._memo.builds
        self._memo, self._references = Memo(), Memo()
        self._memo.builds = builds
        self._read = reference_reader(self._references)
        self._aged_at = 0

    def narrowed(
        self,
        snapshot: NodeSnapshot,
        compiler: str,
        revoked: Sequence[str],
        distrusted: Sequence[str] = (),
        barred: Sequence[Name] = (),
    ) -> NodeSnapshot:
        """A snapshot of before, closed to those who are cut off since from the node's service, or it from others.

        Where a root is distrusted, its secrets are those of now: those of before may trust it, or be signed by it.
        """
        if not (revoked or distrusted or barred):
            return snapshot
        artifacts, how, service = list(snapshot), self._compiler(compiler), service_of(snapshot.node_id)
        if isinstance(how, Narrows):
            artifacts = [how.narrowed(artifact, revoked, distrusted, barred) for artifact in artifacts]
        if distrusted and service is not None:
            current = {(secret.kind, secret.name): secret for secret in self._secrets(service)}
            artifacts = [current.get((each.kind, each.name), each) for each in artifacts]
        return NodeSnapshot.of(snapshot.node_id, artifacts)

    def faults(self, snapshot: NodeSnapshot) -> tuple[str, ...]:
        """What is wrong with a snapshot as a whole; empty means that it may be sent."""
        if self._references.builds - self._aged_at > REFERENCES:
            self._aged_at = self._references.builds
            self._references.age()
        return consistent(snapshot, self._read)

    def _snapshot(self, mesh: Mesh, node: Node, secrets: tuple[Artifact, ...]) -> NodeSnapshot:
        shown = self._shown()
        mesh = reaching(mesh, self._places)
        # A mesh has one kind of sidecar until nodes can be selected for several.
        artifacts = self._compiler(mesh.settings.data_planes[0].compiler).compile(mesh, node, self._memo).artifacts
        if (gateway := mesh.services[node.service].gateway) is not None:
            secrets = self._with_shown(secrets, [shown[each] for each in gateway.certificates if each in shown])
        # The same artefacts (by identity, which the compiler's memo keeps) and secrets make the same snapshot.
        key = ("snapshot", node.id, Same(artifacts), Same(secrets))
        return self._memo.get(key, lambda: NodeSnapshot.of(node.id, (*artifacts, *secrets)), counted=False)

    def _shown(self) -> Mapping[str, Artifact]:
        """What gateways can show now; what they cannot is said to the compiler."""
        if self._certificates is None:
            return {}
        shown = self._certificates()
        known = frozenset(shown)
        if self._places.certificates != known:
            self._places = replace(self._places, certificates=known)
        return shown

    def _with_shown(self, secrets: tuple[Artifact, ...], shown: Sequence[Artifact]) -> tuple[Artifact, ...]:
        """What a gateway's nodes are given; the very same tuple while it is the same."""
        key = ("shown", Same(secrets), *((each.name, each.version) for each in shown))
        return self._memo.get(key, lambda: (*secrets, *shown), counted=False)

    def _compiler(self, name: str) -> Compiler:
        """Found once: looking through the installed packages takes longer than compiling a node."""
        if name not in self._compilers:
            self._compilers[name] = self._compiler_of(name)
        return self._compilers[name]
