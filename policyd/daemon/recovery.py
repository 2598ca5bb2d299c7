"""The way on from a loss: a person says what was promoted, or that a new root shall take the place of the old one.

    policyd recover -> recovery -> source (the commit) -> admission (judged as any) -> rollout.driver
                                -> wallet (both roots) -> rollout.driver -> wallet (new leaves) -> rollout.driver

Meanwhile it is looked at what proxies run and show, so that the status can say what is live and what to type.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError, UsageError
from policyd.daemon.admission import Admission, Rejected
from policyd.daemon.lost import Found, LostStore, words
from policyd.daemon.troubles import About, Troubles
from policyd.daemon.wallet import Wallet
from policyd.delivery.xds.server import XdsServer
from policyd.rollout.driver import Driver
from policyd.source import Mirror
from policyd.telemetry.running import RunningEnvoys

LOOK_S = 2.0
"""How often proxies are looked at while the store is lost."""


class Recovery:
    """Says in `troubles` what was lost, and takes the word of who knows how to go on."""

    def __init__(
        self,
        driver: Driver,
        lost: LostStore,
        *,
        mirror: Mirror,
        admission: Admission,
        wallet: Wallet,
        troubles: Troubles,
        xds: XdsServer,
        envoys: RunningEnvoys,
    ) -> None:
        self._driver = driver
        self._lost = lost
        self._mirror = mirror
        self._admission = admission
        self._wallet = wallet
        self._troubles = troubles
        self._xds = xds
        self._envoys = envoys
        self._ends: datetime | None = None
        self._log = structlog.get_logger("recovery")

    @property
    def found(self) -> Found | None:
        """What proxies run, while the store is lost."""
        return self._lost.found if self._driver.lost else None

    async def watch(self, clock: Clock) -> None:
        """Look at what proxies run and show while something is lost; never ends by itself."""
        while True:
            try:
                await self._look()
            except PolicydError as error:  # said by who follows the repository, or tried again
                self._log.warning("not found out what proxies run", error=str(error))
            self.say()
            await clock.sleep(LOOK_S)

    async def _look(self) -> None:
        if self._driver.lost:
            self._wallet.doubt()
            await self._lost.look()
        if self._wallet.rootless:
            shown = await self._envoys.certificates(sorted(self._xds.present()))
            self._ends = min((each.leaf_ends for each in shown.values()), default=self._ends)
        if self._wallet.publishing and not self.distrusting():
            await self._sign()

    def say(self) -> None:
        """Bring the trouble up to date."""
        found = self.found
        self._troubles.say(About.STORE, words(found) if found is not None else "")

    async def promoted(self, revision: str) -> str:
        """Take the mesh of that commit (`HEAD`, or its id) for the promoted one; returns the commit.

        It passes the same checks as any commit: no word of a person opens what a commit could not. Raises
        `UsageError` where nothing is lost, or the commit cannot be used; `Retry` or `Stalled` where nothing can be
        told or written.
        """
        if not self._driver.lost:
            raise UsageError(
                "the store is not lost: it says what is promoted", hint="a revert in Git takes back what is promoted"
            )
        commit = await asyncio.to_thread(self._mirror.resolve, revision)
        snapshot = await asyncio.to_thread(self._mirror.snapshot, commit)
        outcome = await self._admission.judge_again(snapshot, self._wallet.trust_domain)
        if isinstance(outcome, Rejected):
            worst = outcome.findings[0]
            raise UsageError(
                f"commit {commit[:10]} cannot be promoted: {worst.location}: {worst.code}: {worst.message}",
                hint="name a commit that passes its checks, or mend it in a new one",
            )
        self._wallet.doubt()
        self._wallet.follow(outcome.mesh.settings, live=True)
        self._log.warning("recovered", promoted=commit)
        await self._driver.recover(commit, outcome.mesh)
        self.say()
        return commit

    async def new_root(self) -> tuple[str, ...]:
        """Let a new root take the place of the one that is gone; returns who does not trust it yet.

        Where the old one is known, proxies trust both before any gets a leaf of the new one; those that are away are
        waited for, unless a person asks a second time. Raises `UsageError` where no root is gone, `Stalled` where it
        cannot be written.
        """
        if self._driver.lost:
            raise UsageError("it is not known what proxies should run", hint="say `--promoted COMMIT --new-root`")
        if self._wallet.rootless:
            self._log.warning("new root")
            self._wallet.publish()
            await self._driver.deliver_secrets()
            if self._wallet.publishing and (waits_for := self.distrusting()):
                return waits_for
        elif not self._wallet.publishing:
            raise UsageError("the root certificate is there", hint="`--new-root` is for one that is gone")
        await self._sign()
        return ()

    def distrusting(self) -> tuple[str, ...]:
        """The proxies of the mesh that have not acknowledged what they are given now."""
        effective = self._driver.serving()
        nodes = effective.nodes() if effective is not None else ()
        return tuple(node.id for node in nodes if not self._xds.proxy(node.id).converged)

    def about_root(self) -> str:
        """What is wrong with the root certificate, and what to type; empty where nothing is."""
        if self._wallet.rootless:
            ends = f", the first of which ends at {self._ends:%Y-%m-%d %H:%M} UTC" if self._ends is not None else ""
            what = "in `identity` is distrusted" if self._wallet.holds_distrusted else "is gone"
            return (
                f"the root certificate of `{self._wallet.trust_domain}` {what}: proxies keep their"
                f" certificates{ends}, and one that starts anew gets none"
                " (restore `identity` from its backup and start again, or `policyd recover --new-root`)"
            )
        if self._wallet.publishing:
            waits_for = self.distrusting()
            return (
                f"a new root is published: {len(waits_for)} proxies do not trust it yet, {', '.join(waits_for[:3])}"
                " (`policyd recover --new-root` once more goes on without them)"
            )
        return ""

    async def _sign(self) -> None:
        self._wallet.sign()
        await self._driver.deliver_secrets()
        self._log.warning("leaves are signed by the new root")
