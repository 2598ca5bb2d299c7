"""What a compiler returns: artefacts named by content, and what got lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from policyd.base.content import digest_bytes
from policyd.base.diagnostics import Severity
from policyd.model.provenance import Key

FILE = "file"
"""The kind of an artefact that is a file; its name is the path inside the node's folder."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One unit of configuration: an xDS resource (`kind` is its type URL) or a file (`kind` is `FILE`).

    `version` is the digest of `body`: equal content is equal everywhere and is never sent twice. The bytes are
    made once and shared by every proxy that holds the artefact.
    """

    kind: str
    name: str
    body: bytes = field(repr=False)
    version: str = field(init=False, compare=False, repr=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", digest_bytes(self.body))


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the mesh says and the proxy cannot.

    `about` is the value that lost something (a rule, a service). A loss in an access rule is an `ERROR`: the
    compiler has narrowed the rule, and a person must accept that by name.
    """

    code: str
    severity: Severity
    about: Key
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The configuration of one node, artefacts sorted by kind and name."""

    artifacts: tuple[Artifact, ...]
    losses: tuple[Loss, ...] = ()
