"""The controller: follows the branch, has each commit judged, hands what passes to the rollout.

    source -> admission -> rollout.driver -> delivery
                                ^ telemetry, wallet

Five tasks run side by side: following Git, driving releases, renewing secrets, checking itself, answering HTTP. One
that cannot go on says so in the status and tries again. Only a bug ends one of them, and then the whole process: half
a controller would mislead, and proxies go on with what they have.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from policyd.api.control import CommitStatus, FindingStatus, Recovered, SelfCheck, Status
from policyd.api.metrics import ControllerMetrics
from policyd.base.clock import Clock
from policyd.base.diagnostics import Finding
from policyd.base.errors import PolicydError
from policyd.daemon.admission import Admission, Admitted, Rejected
from policyd.daemon.deciding import Promoted
from policyd.daemon.elsewhere import Standing
from policyd.daemon.patience import patience_s, until_known
from policyd.daemon.picture import held_proxies, held_services, outside, proxies, services
from policyd.daemon.recovery import Recovery
from policyd.daemon.revoking import no_such_root
from policyd.daemon.troubles import About, Troubles
from policyd.daemon.wallet import Wallet
from policyd.delivery.xds.server import XdsServer
from policyd.identity.key_sets import KeySets
from policyd.model.mesh import Mesh
from policyd.model.provenance import Key, Provenance
from policyd.rollout.driver import Driver
from policyd.rollout.event import Event, Kind
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase, ReleaseRecord
from policyd.source import Mirror, Reachable, Snapshot, SourceEvent, Unreachable, Watch

RENEWAL_LOOK_S = 1.0
"""The longest time between two looks at what is due for renewal, so that a clock that jumps is noticed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was really done since the start, and not found in memory."""

    parsed_files: int
    lowered_values: int
    judged_documents: int
    compiled: int


class Controller:
    """One running policyd. Its parts are built by `daemon.build`."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        poll_s: float,
        admission: Admission,
        driver: Driver,
        xds: XdsServer,
        wallet: Wallet,
        key_sets: KeySets,
        recovery: Recovery,
        troubles: Troubles,
        metrics: ControllerMetrics,
        clock: Clock,
        engine_name: str,
        self_check_s: float,
        counts: Callable[[], Counts],
    ) -> None:
        self._mirror = mirror
        self._watch = Watch(mirror, clock, on_event=self._on_source_event, poll_s=poll_s, stopwatch=metrics.stopwatch)
        self._admission = admission
        self._driver = driver
        self._xds = xds
        self._wallet = wallet
        self._key_sets = key_sets
        self._recovery = recovery
        self._metrics = metrics
        self._clock = clock
        self._engine_name = engine_name
        self._self_check_s = self_check_s
        self._counts = counts
        self._commit: CommitStatus | None = None
        self._head: Mesh | None = None
        self._provenance: Mapping[Key, Provenance] = {}
        self._troubles = troubles
        self._considering = asyncio.Lock()
        self._log = structlog.get_logger("controller")

    # Tasks.

    async def follow(self) -> None:
        """Judge every commit of the branch, newest first when several wait; never ends by itself."""
        await self._resume()
        async for snapshot in self._watch.snapshots():
            await self._consider_until_known(snapshot)

    async def drive(self, stop: asyncio.Event) -> None:
        """Move releases until `stop`. What was promoted before a restart is signed for again first."""
        if self._driver.promoted is not None:
            self._wallet.follow(self._driver.promoted.settings, live=True)
        await self._driver.run(stop)

    async def renew(self) -> None:
        """Renew secrets before they expire, and let the proxies have them; never ends by itself."""
        while True:
            try:
                due = self._wallet.renew_due()
            except PolicydError as error:  # an expired root: the proxies keep what they have
                self._say_trouble(About.SECRETS, "secrets not renewed", error)
                await self._clock.sleep(patience_s(error))
                continue
            self._troubles.say(About.SECRETS, self._recovery.about_root())
            if due:
                self._log.info("renewed", services=[str(service) for service in due])
                self._driver.runtime_changed()
            await self._clock.sleep(self._until_renewal())

    async def fetch_keys(self) -> None:
        """Keep the keys of token issuers fresh, and let the proxies have them; never ends by itself."""
        while True:
            asked = {
                issuer.keys_url
                for mesh in (self._driver.promoted, self._head)
                if mesh is not None
                for issuer in mesh.settings.issuers
                if issuer.keys_url
            }
            if await self._key_sets.refresh(asked):
                self._driver.runtime_changed()
            self._troubles.say(About.KEYS, self._key_sets.trouble)
            await self._clock.sleep(RENEWAL_LOOK_S)

    async def check_itself(self) -> None:
        """Now and then, compare with a controller that remembers nothing; never ends by itself."""
        while True:
            await self._clock.sleep(self._self_check_s)
            try:
                await self.self_check()
            except PolicydError as error:  # the commit cannot be read: said by who follows the repository
                self._log.warning("self-check not made", error=str(error))

    async def record_metrics(self) -> None:
        """Count what happens; never ends by itself."""
        async for event in self._driver.events.follow():
            if event.kind is Kind.REFUSED:
                self._metrics.refusals.inc()
            if _answers_a_commit(event):
                self._metrics.commit_to_acknowledged.observe(event.data["since_commit_s"])

    def _on_source_event(self, event: SourceEvent) -> None:
        """What the watcher has to say: shown, and logged."""
        match event:
            case Unreachable(reason=reason, hint=hint):
                self._troubles.say(About.REPOSITORY, _with_hint(reason, hint))
            case Reachable():
                self._troubles.over(About.REPOSITORY)
        self._log.warning("source", said=str(event))

    # What the API asks.

    def status(self) -> Status:
        """Everything, as it is now."""
        said = self._driver.status()
        records = self._driver.records()
        promoted = self._driver.promoted
        self._recovery.say()
        self._troubles.say(About.RELEASES, said.stalled)
        self._troubles.say(About.ROOTS, self._about_distrust())
        self._troubles.say(About.CLOCK, _behind(self._clock.now(), self._driver.closing.ended))
        found = self._recovery.found
        if found is not None:
            return Status(
                mesh=self._head.settings.name if self._head is not None else "",
                head=said.head,
                commit=self._commit,
                engine=self._engine_name,
                troubles=self._troubles.all(),
                services=held_services(found.splits, self._head),
                nodes=held_proxies(found.nodes, self._xds),
            )
        return Status(
            mesh=promoted.settings.name if promoted is not None else "",
            head=said.head,
            commit=self._commit,
            engine=self._engine_name,
            troubles=self._troubles.all(),
            services=services(promoted, self._head, records, said.rates) if promoted is not None else (),
            nodes=proxies(self._driver.serving(), self._xds, said.degraded),
            releases=records,
            trust_domain=promoted.settings.trust_domain if promoted is not None else "",
            issuers={each.name: each.url for each in promoted.settings.issuers} if promoted is not None else {},
            outside=outside(promoted) if promoted is not None else {},
        )

    def _about_distrust(self) -> str:
        """A distrusted root that is none of this mesh, and what of the distrust would not outlive this process."""
        for cut, asked_for in self._driver.closing.cuts:
            root = cut.revocation.root
            if root and self._wallet.trust_domain and root not in self._wallet.dropped:
                way_out = "take it out of Git" if asked_for else f"`policyd revocations lift {cut.revocation.name}`"
                return f"`{cut.revocation.name}`: {no_such_root(self._wallet.trusted)}; if it is a mistake, {way_out}"
        return self._wallet.unwritten

    def ready(self) -> str:
        """Why proxies are not served yet; empty when they are."""
        if self._driver.promoted is None:
            self._recovery.say()
            return str(self._troubles) or "no commit has been taken yet"
        return "" if self._driver.status().serving else "the last promoted mesh is being compiled"

    async def command(self, release: str, verb: Command) -> ReleaseRecord:
        """Do what a person asks of a release."""
        return await self._driver.command(release, verb)

    def events(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        return self._driver.events.follow()

    def promoted(self) -> Promoted | None:
        """What decisions are made for."""
        mesh = self._driver.closing.judged
        if mesh is None:
            return None
        closing = self._driver.closing
        cuts = tuple(cut.revocation for cut, _ in closing.cuts)
        return Promoted(mesh, self._driver.head, self._provenance, closing.ended, cuts)

    def head(self) -> Standing | None:
        """The newest commit that was taken, since the start."""
        if self._head is None:
            return None
        return Standing("head", self._head, self._driver.head, self._provenance)

    def say_about_decisions(self, words: str) -> None:
        """The decision server does not run, and why; empty words once it does."""
        self._troubles.say(About.DECISIONS, words)

    async def self_check(self) -> SelfCheck:
        """Work out once more from nothing what Git and the mesh say, and make anew what differs.

        Raises `Retry` where the commit cannot be read.
        """
        read = await self._admission.self_check()
        configured = await self._driver.self_check()
        drifted = (*(read[1] if read is not None else ()), *(configured or ()))
        compared = read is not None and configured is not None
        self._metrics.self_checks.labels("drifted" if drifted else "same" if compared else "not compared").inc()
        if drifted:
            self._log.error("self-check", drifted=drifted)
            words = f"{len(drifted)} things had drifted and are made anew, {drifted[0]} among them"
            self._troubles.say(About.MEMORY, words)
        elif compared:
            self._troubles.over(About.MEMORY)
        if read is not None and read[1] and self._commit is not None and self._commit.commit == read[0].commit:
            await self._consider(read[0])
        return SelfCheck(compared, drifted)

    async def accept_clock(self) -> None:
        """Do what a person asks who knows that the clock was ahead and is right now."""
        self._log.warning("clock accepted", now=self._clock.now().isoformat(), floor=str(self._driver.closing.ended))
        await self._driver.closing.accept_clock()

    async def recover(self, promoted: str, *, new_root: bool) -> Recovered:
        """Do what a person asks who knows what was promoted before the store was lost, or that the root is gone."""
        async with self._considering:
            commit = await self._recovery.promoted(promoted) if promoted else ""
            waits_for = await self._recovery.new_root() if new_root else ()
            return Recovered(commit, new_root and not waits_for, waits_for)

    def measure(self) -> None:
        """Bring the gauges up to date, just before they are read."""
        self._metrics.proxies.set(len(self._xds.connected()))
        self._metrics.pushed_resources.set(self._xds.pushed.resources)
        self._metrics.pushed_bytes.set(self._xds.pushed.bytes)
        counts = self._counts()
        self._metrics.compiled.set(counts.compiled)
        self._metrics.parsed_files.set(counts.parsed_files)
        self._metrics.lowered_values.set(counts.lowered_values)
        self._metrics.judged_documents.set(counts.judged_documents)
        self._metrics.would.totals = self._driver.observed.totals
        self._metrics.edges.totals = self._driver.edge_totals.totals
        self._metrics.edges.open_circuits = {
            (str(caller), str(callee), version): now.open_circuits
            for (caller, callee, version), now in self._driver.edges.seen().now.items()
        }
        phases = Counter(record.phase for record in self._driver.records())
        for phase in Phase:
            self._metrics.releases.labels(phase.value).set(phases[phase])

    # One commit.

    async def _consider_until_known(self, snapshot: Snapshot) -> None:
        await until_known(
            lambda: self._consider(snapshot),
            overtaken=lambda: self._overtaken(snapshot.commit),
            trouble=lambda error: self._say_trouble(About.COMMIT, "commit not judged", error),
            clock=self._clock,
        )

    async def _overtaken(self, commit: str) -> bool:
        """Whether the branch has a newer commit than this one."""
        try:
            return await asyncio.to_thread(self._mirror.fetch) != commit
        except PolicydError:
            return False

    async def _resume(self) -> None:
        """After a restart, the rules of the commit that was taken last still hold. It may be gone from Git."""
        head = self._driver.head
        if not head:
            return
        try:
            await self._admission.resume(await asyncio.to_thread(self._mirror.snapshot, head))
        except (PolicydError, ValueError) as error:
            self._log.warning("rules of the last commit not found", commit=head, error=str(error))

    def _say_trouble(self, about: About, what: str, error: PolicydError) -> None:
        words = _with_hint(str(error), error.hint)
        self._troubles.say(about, words)
        self._log.error(what, error=words)

    async def _consider(self, snapshot: Snapshot) -> None:
        """Judge a commit, and take it or refuse it; one at a time."""
        async with self._considering:
            await self._judge(snapshot)

    async def _judge(self, snapshot: Snapshot) -> None:
        outcome = await self._admission.consider(snapshot, self._wallet.trust_domain)
        if isinstance(outcome, Admitted):
            self._wallet.follow(outcome.mesh.settings, live=self._driver.lost or self._driver.promoted is not None)
            self._head, self._provenance = outcome.mesh, outcome.provenance
            self._seen(outcome)
            await self._driver.accept(snapshot.commit, outcome.mesh, snapshot.author, seen_s=self._since(snapshot))
        else:
            self._driver.refuse(snapshot.commit, snapshot.author, tuple(_line(f) for f in outcome.findings))
            self._seen(outcome)
        self._troubles.over(About.COMMIT)

    def _seen(self, outcome: Admitted | Rejected) -> None:
        snapshot, taken = outcome.snapshot, isinstance(outcome, Admitted)
        self._commit = CommitStatus(
            commit=snapshot.commit,
            author=snapshot.author,
            subject=snapshot.subject,
            taken=taken,
            at=self._clock.now().isoformat(),
            findings=tuple(FindingStatus.of(finding) for finding in outcome.findings),
        )
        self._metrics.commits.labels("taken" if taken else "refused").inc()
        for finding in outcome.findings:
            self._metrics.findings.labels(finding.code).inc()
        self._log.info("commit", commit=snapshot.commit, taken=taken, findings=[_line(f) for f in outcome.findings])

    def _since(self, snapshot: Snapshot) -> float:
        """Seconds since the commit was seen; none where the clock was set back meanwhile."""
        if snapshot.seen_at is None:
            return 0.0
        return max(0.0, (self._clock.now() - snapshot.seen_at).total_seconds())

    def _until_renewal(self) -> float:
        due = self._wallet.next_renewal()
        if due is None:
            return RENEWAL_LOOK_S
        return min(max((due - self._clock.now()).total_seconds(), 0.05), RENEWAL_LOOK_S)


def _answers_a_commit(event: Event) -> bool:
    """Whether a commit has just reached the proxies for the first time; later stages wait on purpose."""
    if event.kind is Kind.STAGE:
        return bool(event.data["stage"] == 1)
    return event.kind is Kind.SERVED or (event.kind is Kind.PROMOTED and bool(event.data["known_good"]))


def _behind(now: datetime, floor: datetime | None) -> str:
    """What a clock that was set back means; empty if it was not."""
    if floor is None or now >= floor:
        return ""
    return _with_hint(
        f"the clock says {now:%Y-%m-%d %H:%M:%S}, and a rule was taken as expired at {floor:%Y-%m-%d %H:%M:%S}: "
        "every rule that ends before then stays closed",
        "if the clock was wrong then and is right now, `policyd accept-clock`",
    )


def _with_hint(words: str, hint: str) -> str:
    return f"{words} ({hint})" if hint else words


def _line(finding: Finding) -> str:
    return f"{finding.location}: {finding.severity} {finding.code}: {finding.message}"
