"""The protocol that a compiler implements, and what it says about itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from policyd.base.codes import Explanation
from policyd.compiler.artifact import Artifact, Compiled, Loss
from policyd.compiler.memo import Memo
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import Node
from policyd.model.service import Split


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a data plane can do, by the field's words; shown by `policyd doctor` and in the docs."""

    delivery: str
    """`xds`, `files` or `manifests`."""
    live_access_rules: bool
    """Whether a changed access rule reaches existing connections without closing them."""
    weighted_versions: bool
    header_match: bool
    conditions: frozenset[str] = frozenset()
    """What rules may ask for besides callers, methods and paths (`policyd.compiler.conditions`)."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """An identity and whom to trust, as PEM. A compiler only says where they go: it makes none and keeps none.

    For validation they are throw-away ones; proxies that read files insist on reading some.
    """

    certificate_chain: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    roots: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Validation:
    """How the real proxy judges a compiled node: write `files`, run `program` with `arguments` beside them.

    `{dir}` in an argument stands for the folder that the files were written to. Exit status 0 accepts. Some of the
    files hold keys: whoever writes them keeps them from others and throws them away.
    """

    program: str
    arguments: tuple[str, ...]
    files: Mapping[str, bytes]


class Compiler(Protocol):
    """Turns the mesh as one node should see it into that node's configuration."""

    @property
    def name(self) -> str:
        """The entry point's name, as a mesh writes it: `compiler: envoy`."""
        ...

    @property
    def id(self) -> str:
        """Name and a number that changes whenever the same mesh would compile to other bytes."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this data plane can do."""
        ...

    @property
    def codes(self) -> Mapping[str, Explanation]:
        """What the codes of its own losses mean; those that compilers share are in `policyd.compiler.codes`."""
        ...

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        """The configuration of `node`. Deterministic; equal inputs share the very same artefact objects."""
        ...

    def render(self, artifact: Artifact) -> str:
        """The artefact as a person reads it in a diff: stable, line-oriented text."""
        ...

    def validation(self, compiled: Compiled, node: Node, secrets: Secrets) -> Validation:
        """What to hand to the real proxy so that it judges this configuration, with `secrets`, without starting."""
        ...


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens: a host and a port, or a Unix socket when `path` is set."""

    host: str = ""
    port: int = 0
    path: str = ""


@runtime_checkable
class Foresees(Protocol):
    """A compiler that knows what will be lost before it compiles: a check of the whole mesh then costs little."""

    def losses(self, mesh: Mesh, memo: Memo) -> tuple[Loss, ...]:
        """Exactly the losses that `compile` returns for the nodes of `mesh`, each once, in any order.

        What was asked before comes out of `memo`, so that the next commit costs what it changes.
        """
        ...


@runtime_checkable
class Narrows(Protocol):
    """A compiler that can close what it has compiled before: what a proxy goes back to must not open again."""

    def narrowed(
        self,
        artifact: Artifact,
        revoked: Sequence[str],
        distrusted: Sequence[str] = (),
        barred: Sequence[Name] = (),
    ) -> Artifact:
        """`artifact` with these SPIFFE IDs cut off from the node's own service, and these roots distrusted.

        `barred` are the external hosts that the node is cut off from.

        The very same object where it lets nobody in, or cuts them all off already. Secrets are never asked about.
        """
        ...


@runtime_checkable
class ReadsBack(Protocol):
    """A compiler that can read what it has written: for a controller that finds proxies running and knows nothing."""

    def splits(self, artifacts: Iterable[Artifact]) -> Mapping[Name, Split]:
        """The split of every service that these artefacts of one node, or a part of them, lead requests to."""
        ...


@runtime_checkable
class Bootstraps(Protocol):
    """A compiler whose proxies are started with a small file of their own and fetch the rest."""

    def bootstrap(self, node: Node, xds: ListenAddress, admin: ListenAddress) -> bytes:
        """What the proxy of `node` is started with; its resources come from the control plane at `xds`."""
        ...
