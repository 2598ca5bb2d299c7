"""What gateways show to their clients: certificates from the settings' files, as the secrets that proxies are given.

identity.certificates (what is in the files) -> Showing -> rollout.assembly (what each node gets)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from policyd.base.clock import Clock
from policyd.compiler.artifact import Artifact
from policyd.daemon.troubles import About, Troubles
from policyd.delivery.xds.secrets import certificate_secret
from policyd.identity.certificates import Certificates

LOOK_S = 2.0
"""Seconds between two looks at the files."""


class Showing:
    """Holds the secrets of now; the same mapping for as long as no file has changed."""

    def __init__(self, certificates: Certificates, troubles: Troubles) -> None:
        """Look at the files a first time, so that nobody is told of a certificate that is there."""
        self._certificates = certificates
        self._troubles = troubles
        self._secrets: Mapping[str, Artifact] = {}
        self._look()

    def secrets(self) -> Mapping[str, Artifact]:
        """The secret of each certificate that is to be had, by name."""
        return self._secrets

    async def follow(self, clock: Clock, changed: Callable[[], None]) -> None:
        """Look again and again, and say what has `changed`; never ends by itself."""
        while True:
            await clock.sleep(LOOK_S)
            if await asyncio.to_thread(self._certificates.refresh):
                self._take()
                changed()
            self._troubles.say(About.CERTIFICATES, self._certificates.trouble)

    def _look(self) -> None:
        if self._certificates.refresh():
            self._take()
        self._troubles.say(About.CERTIFICATES, self._certificates.trouble)

    def _take(self) -> None:
        pairs = self._certificates.pairs
        self._secrets = {name: certificate_secret(name, pair.chain, pair.key) for name, pair in pairs.items()}
