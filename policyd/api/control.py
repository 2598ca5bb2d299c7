"""What the API needs of a controller, and the values that it shows. The daemon implements both protocols.

Decisions stand behind a protocol of their own, since they are answered by a process of their own where the load asks
for it; nothing here may assume that they are made beside the controller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from policyd.base.diagnostics import Finding
from policyd.decisions import Answer, Request
from policyd.decisions.bundle import Packed
from policyd.rollout.event import Event
from policyd.rollout.machine import Command
from policyd.rollout.record import ReleaseRecord


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a service: its share now (basis points), and how it did lately at its callers."""

    version: str
    weight: int
    instances: int
    requests_per_s: float = 0.0
    error_share: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service. `asked` is the version that Git names; `diverged` says why another one serves."""

    service: str
    asked: str
    versions: tuple[VersionStatus, ...]
    diverged: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One proxy: whether it is connected, runs what it should (`in_sync`), and what it refused last."""

    node: str
    connected: bool
    in_sync: bool
    snapshot: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class FindingStatus:
    """A finding with its place, as plain values."""

    code: str
    severity: str
    message: str
    file: str
    line: int
    column: int
    hint: str

    @classmethod
    def of(cls, finding: Finding) -> FindingStatus:
        """The finding as plain values."""
        where = finding.location
        return cls(
            finding.code, str(finding.severity), finding.message, where.path, where.line, where.column, finding.hint
        )


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """How the newest commit was judged. `taken` is false while the mesh stays at an older one."""

    commit: str
    author: str
    subject: str
    taken: bool
    at: str
    findings: tuple[FindingStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class TroubleStatus:
    """Something that is not well: what it is `about` (`repository`, `secrets`, `clock`, ...), and why."""

    about: str
    said: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `policyd status` prints."""

    mesh: str
    head: str
    """The commit that the mesh follows: the newest one that was taken."""
    commit: CommitStatus | None
    """The newest one that was seen."""
    engine: str
    """Which policy engine judges commits."""
    troubles: tuple[TroubleStatus, ...] = ()
    """All that is not well now, each with its own words."""
    services: tuple[ServiceStatus, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    releases: tuple[ReleaseRecord, ...] = ()
    trust_domain: str = ""
    issuers: Mapping[str, str] = field(default_factory=dict)
    """The `iss` of the tokens that rules may ask for, by the name that rules use."""
    outside: Mapping[str, str] = field(default_factory=dict)
    """External hosts as callers name them, each with its `Egress`."""


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What a controller found that worked everything out once more from nothing: `drifted` is made anew."""

    compared: bool
    """False where something is on its way, so that there is nothing to compare with."""
    drifted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a controller goes on from that had lost something."""

    promoted: str
    """The commit that is taken for promoted; empty where none was named."""
    new_root: bool = False
    """Whether leaves are signed by a new root now."""
    waits_for: tuple[str, ...] = ()
    """Proxies that do not trust the new root yet."""


class ControlPlane(Protocol):
    """A running controller, as seen from outside."""

    def status(self) -> Status:
        """Everything, as it is now."""
        ...

    def ready(self) -> str:
        """Why the controller is not ready to serve proxies; empty when it is."""
        ...

    def measure(self) -> None:
        """Bring the gauges of the metrics up to date."""
        ...

    async def command(self, release: str, verb: Command) -> ReleaseRecord:
        """Do what a person asks of a release. Raises `KeyError` for an unknown one, `UsageError` if it is over."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        ...

    async def self_check(self) -> SelfCheck:
        """Compare with a controller that remembers nothing, now. Raises `Retry`."""
        ...

    async def accept_clock(self) -> None:
        """Let rules that a clock which was ahead has ended hold again. Raises `Retry` or `Stalled`."""
        ...

    async def recover(self, promoted: str, *, new_root: bool) -> Recovered:
        """Take a commit (`HEAD`, or its id) for what was promoted before the store was lost; empty: not asked for.

        `new_root`: let a new root take the place of one that is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Differing:
    """Of how many connected proxies of a service some decide by other rules than the promoted ones.

    One that has not acknowledged what it was given last counts as such, since nobody can tell.
    """

    differ: int
    of: int


class Decisions(Protocol):
    """Where access decisions come from."""

    def differing(self) -> Mapping[str, Differing]:
        """By `namespace/name`, the services where any does; empty while nothing is promoted."""
        ...

    async def explain(
        self, request: Request, at: str = "", *, when: datetime | None = None, logged: str = "", sent: bool = False
    ) -> Answer:
        """The answer with what proxies do meanwhile: of the promoted mesh, or `at` the head, a commit or a node.

        `when` is the instant to decide for, now unless it is said; `logged` a rule's name in a log; `sent`: the
        request is as its caller sends it, before a rule of a route may rewrite it. Raises `UsageError` for an `at`
        that names nothing, `Retry` where it cannot be read now.
        """
        ...


class Bundles(Protocol):
    """Where the signed bundle of decisions comes from."""

    async def bundle(self, known: str, wait_s: float) -> Packed:
        """The bundle; where its ETag is `known`, the next one, for which `wait_s` seconds are waited at most.

        Raises `Retry` before there is one.
        """
        ...
