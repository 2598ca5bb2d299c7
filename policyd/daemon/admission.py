"""May this commit be followed? Every finding of every stage, and the mesh if there is no error among them.

    snapshot -> load -> lower -> guardrails, what compilers lose, its own tests -> Admitted | Rejected

Nothing here touches what is live: a commit that is rejected leaves the mesh at the last one that was taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from policyd.base.clock import Clock
from policyd.base.diagnostics import Finding, Location, Severity, has_errors, in_order
from policyd.base.leisure import leisurely
from policyd.base.stopwatch import Stopwatch, untimed
from policyd.compiler.memo import Memo
from policyd.daemon.planes import DataPlanes
from policyd.decisions.expectations import Expectations, failures
from policyd.guardrails.acceptances import Acceptances
from policyd.guardrails.losses import Told, foreseen
from policyd.intents import Bindings, Loaded, ParseCache, load
from policyd.lowering import Lowered, LoweringMemo, lower
from policyd.model.mesh import Mesh
from policyd.model.provenance import Key, Provenance
from policyd.plan.floor import without_own_cuts
from policyd.source import Snapshot


@dataclass(frozen=True, slots=True)
class Admitted:
    """A commit that may be followed; `findings` are warnings."""

    snapshot: Snapshot
    mesh: Mesh
    provenance: Mapping[Key, Provenance]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A commit with at least one error."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]


class Judge(Protocol):
    """The guardrails, with their engine and bundles chosen."""

    async def judge(self, tree: Snapshot, loaded: Loaded, at: datetime) -> tuple[Finding, ...]:
        """What the rules say. Raises `Retry` or `Stalled` where the engine has no answer."""
        ...

    async def promote(self, tree: Snapshot) -> None:
        """The rules of this commit judge those that come after it."""
        ...


class Admission:
    """Judges commits one after another, and remembers what it parsed and lowered."""

    def __init__(
        self,
        judge: Judge,
        clock: Clock,
        stopwatch: Stopwatch = untimed,
        planes: DataPlanes | None = None,
        bindings: Bindings | None = None,
    ) -> None:
        self._judge = judge
        self._planes = planes or DataPlanes()
        self._bindings = bindings or Bindings()
        self._clock = clock
        self._stopwatch = stopwatch
        self._cache = ParseCache()
        self._memo = LoweringMemo()
        self._expectations = Expectations()
        self._asked = Memo()
        self.parsed_files = 0
        """Files that were really parsed: a figure for tests and `/metrics`."""
        self._lowered: tuple[Snapshot, Lowered] | None = None

    @property
    def lowered_values(self) -> int:
        """Values of the model that were really made out of documents: a figure for tests and `/metrics`."""
        return self._memo.built

    @property
    def asked_of_compilers(self) -> int:
        """Services with their rules that compilers were really asked about: a figure for tests and `/metrics`."""
        return self._asked.builds

    async def consider(self, snapshot: Snapshot, trust_domain: str = "") -> Admitted | Rejected:
        """Judge a commit. `trust_domain` is the one that is signed for already, which no commit can change.

        Raises `Retry` or `Stalled` where the engine has no answer: nothing is known about the commit then.
        """
        outcome, self._lowered = await self._verdict(snapshot, trust_domain)
        if isinstance(outcome, Admitted):
            await self._judge.promote(snapshot)
        return outcome

    async def judge_again(self, snapshot: Snapshot, trust_domain: str = "") -> Admitted | Rejected:
        """Judge a commit of the past as `consider` would, and do not follow it. Raises the same."""
        return (await self._verdict(snapshot, trust_domain))[0]

    async def _verdict(
        self, snapshot: Snapshot, trust_domain: str
    ) -> tuple[Admitted | Rejected, tuple[Snapshot, Lowered]]:
        with self._stopwatch("load"):
            loaded = await asyncio.to_thread(load, snapshot, self._cache)
        self.parsed_files += loaded.parsed_files
        with self._stopwatch("lower"):
            lowered = await asyncio.to_thread(lower, loaded, self._memo)
        findings = [*snapshot.findings, *lowered.findings]  # lowering hands the loader's on
        findings += self._bindings.findings(loaded.documents)
        with self._stopwatch("judge"):
            findings += await self._judge.judge(snapshot, loaded, self._clock.now())
        if lowered.mesh is not None and trust_domain not in {"", lowered.mesh.settings.trust_domain}:
            findings.append(_moved(lowered.mesh, trust_domain, lowered.provenance))
        if lowered.mesh is not None:
            findings += self._planes.findings(lowered.mesh, lowered.provenance)
            with self._stopwatch("foresee"):
                findings += await asyncio.to_thread(self._lost, loaded, lowered.mesh, lowered.provenance)
            with self._stopwatch("test"):
                findings += await asyncio.to_thread(self._unmet, loaded, lowered.mesh)
        ordered = in_order(findings)
        if lowered.mesh is None or has_errors(ordered):
            return Rejected(snapshot, ordered), (snapshot, lowered)
        return Admitted(snapshot, lowered.mesh, lowered.provenance, ordered), (snapshot, lowered)

    def _lost(self, loaded: Loaded, mesh: Mesh, provenance: Mapping[Key, Provenance]) -> tuple[Finding, ...]:
        """What the commit says and its proxies cannot, as warnings where it is accepted by name."""
        told = Told(provenance, Acceptances(loaded.documents, self._clock.now()))
        lost = told.findings(foreseen(mesh, self._planes.compilers(mesh), self._asked))
        return (*lost, *told.accepted.notes())

    def _unmet(self, loaded: Loaded, mesh: Mesh) -> tuple[Finding, ...]:
        """What the commit's own tests expect of its rules, and does not hold."""
        tried = self._expectations.judge(loaded.documents, without_own_cuts(mesh), self._clock.now())
        return failures(tried)

    async def self_check(self) -> tuple[Snapshot, tuple[str, ...]] | None:
        """The commit considered last, read and lowered once more from nothing, and what differs then.

        Where something does, nothing that was remembered is used again. The rules' verdicts are not asked for again:
        their keys are the whole question (decision 041). Takes about four seconds for 1,000 services, in small steps.
        Raises `Retry` where the commit cannot be read.
        """
        if self._lowered is None:
            return None
        snapshot, before = self._lowered
        drifted = await asyncio.to_thread(_drift, snapshot, before)
        if drifted:
            built = self._memo.built
            self._cache, self._memo, self._expectations = ParseCache(), LoweringMemo(), Expectations()
            self._memo.built = built
        return snapshot, drifted

    async def resume(self, snapshot: Snapshot) -> None:
        """Begin after a restart with the commit that was taken last: its rules judge the next one."""
        await self._judge.promote(snapshot)


def _drift(snapshot: Snapshot, before: Lowered) -> tuple[str, ...]:
    """What lowering the commit from nothing says otherwise than `before`."""
    calmly = replace(snapshot, blob=leisurely(snapshot.blob))
    return tuple(_differing(before, lower(load(calmly))))


def _differing(before: Lowered, after: Lowered) -> Iterator[str]:
    if before.mesh != after.mesh:
        yield "the mesh is not what its intents say"
    if before.provenance != after.provenance:
        yield "the places of the intents are not where they are"
    if before.findings != after.findings:
        yield "the findings are not those of the commit"


def _moved(mesh: Mesh, trust_domain: str, provenance: Mapping[Key, Provenance]) -> Finding:
    found = next((place for key, place in provenance.items() if key.kind == "Mesh"), None)
    return Finding(
        code="PD3101",
        severity=Severity.ERROR,
        message=f"the trust domain would change from `{trust_domain}` to `{mesh.settings.trust_domain}`",
        location=found.location if found is not None else Location("."),
        hint="every identity would change at once: run another controller for the new trust domain",
    )
