"""The secrets of every service's sidecars: issued when a mesh is known, renewed before they expire.

Sits between `identity` (who signs) and `delivery` (how a secret reaches a proxy). The same tuple is given out for as
long as nothing was renewed, so that a renewal touches the nodes of one service and nobody else.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.compiler.artifact import Artifact
from policyd.delivery.xds.secrets import svid_secret, trust_bundle_secret
from policyd.identity import CertificateAuthority, SvidIssuer
from policyd.model.mesh import Settings
from policyd.model.names import Name


class Wallet:
    """Holds the current secrets. `folder` is the certificate authority's; nothing is made before `follow`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._authority: CertificateAuthority | None = None
        self._issuer: SvidIssuer | None = None
        self._leaf_s = 0
        self._given: dict[Name, tuple[Artifact, ...]] = {}

    @property
    def trust_domain(self) -> str:
        """The trust domain that this controller signs for; empty before the first mesh."""
        return self._authority.trust_domain if self._authority is not None else ""

    def follow(self, settings: Settings) -> None:
        """Sign for this mesh from now on. Raises `Stalled` where its root cannot be had."""
        if self._authority is None:
            self._authority = CertificateAuthority.open(
                self._folder, settings.trust_domain, self._clock.now(), settings.root_s
            )
        if self._authority.trust_domain != settings.trust_domain:
            raise Stalled(
                f"this controller signs for `{self._authority.trust_domain}`, the mesh asks for"
                f" `{settings.trust_domain}`",
                hint="another trust domain needs a controller, and a state folder, of its own",
            )
        if self._issuer is None or settings.leaf_s != self._leaf_s:
            self._issuer = SvidIssuer(self._authority, self._clock, settings.leaf_s)
            self._leaf_s = settings.leaf_s
            self._given.clear()

    def secrets(self, service: Name) -> tuple[Artifact, ...]:
        """The SDS secrets of a service's nodes. Raises `Stalled` before `follow`, or when the root has expired."""
        given = self._given.get(service)
        if given is None:
            issuer = self._signing()
            svid = issuer.svid(service)
            given = self._given[service] = (
                svid_secret(svid.certificate_chain_pem, svid.key_pem),
                trust_bundle_secret(issuer.bundle_pem),
            )
        return given

    def renew_due(self) -> tuple[Name, ...]:
        """Renew what is due now; returns whose."""
        if self._issuer is None:
            return ()
        due = self._issuer.due(self._clock.now())
        for service in due:
            self._issuer.renew(service)
            self._given.pop(service, None)
        return due

    def next_renewal(self) -> datetime | None:
        """When the next service is due."""
        return self._issuer.next_renewal() if self._issuer is not None else None

    def _signing(self) -> SvidIssuer:
        if self._issuer is None:
            raise Stalled("no mesh is known yet, so there is nothing to sign for")
        return self._issuer
