"""The way back from a lost store: a person says what was promoted, and releases go on from there.

    policyd recover -> recovery -> source (the commit) -> admission (judged as any) -> rollout.driver

Meanwhile it is looked at what proxies run, so that the status can say what is live and what to type.
"""

from __future__ import annotations

import asyncio

import structlog

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError, UsageError
from policyd.daemon.admission import Admission, Rejected
from policyd.daemon.lost import Found, LostStore, words
from policyd.daemon.troubles import About, Troubles
from policyd.daemon.wallet import Wallet
from policyd.rollout.driver import Driver
from policyd.source import Mirror

LOOK_S = 2.0
"""How often proxies are looked at while the store is lost."""


class Recovery:
    """Says in `troubles` that the store was lost, and takes the word of who knows what was promoted."""

    def __init__(
        self,
        driver: Driver,
        lost: LostStore,
        *,
        mirror: Mirror,
        admission: Admission,
        wallet: Wallet,
        troubles: Troubles,
    ) -> None:
        self._driver = driver
        self._lost = lost
        self._mirror = mirror
        self._admission = admission
        self._wallet = wallet
        self._troubles = troubles
        self._log = structlog.get_logger("recovery")

    @property
    def found(self) -> Found | None:
        """What proxies run, while the store is lost."""
        return self._lost.found if self._driver.lost else None

    async def watch(self, clock: Clock) -> None:
        """Look at what runs while the store is lost; never ends by itself."""
        while True:
            if self._driver.lost:
                try:
                    await self._lost.look()
                except PolicydError as error:  # the repository: said by who follows it
                    self._log.warning("not found out what proxies run", error=str(error))
                self.say()
            await clock.sleep(LOOK_S)

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
        self._wallet.follow(outcome.mesh.settings)
        self._log.warning("recovered", promoted=commit)
        await self._driver.recover(commit, outcome.mesh)
        self.say()
        return commit
