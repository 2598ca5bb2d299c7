"""The secrets of every service's sidecars: issued when a mesh is known, renewed before they expire.

Sits between `identity` (who signs) and `delivery` (how a secret reaches a proxy). The same tuple is given out for as
long as nothing was renewed, so that a renewal touches the nodes of one service and nobody else.

Where the root is gone that proxies trust, every proxy keeps the secrets that it has (`kept`): all else goes on, and
its certificate is good until it ends. A person's word lets a new root take its place, in two moves: first proxies
trust both, then they get leaves of the new one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import SVID, TRUST_BUNDLE
from policyd.delivery.resource_types import SECRET
from policyd.delivery.snapshot import kept
from policyd.delivery.xds.secrets import svid_secret, trust_bundle_secret
from policyd.identity import CertificateAuthority, RootRecord, SvidIssuer, Trusted
from policyd.model.mesh import Settings
from policyd.model.names import Name

_KEPT_SVID = kept(SECRET, SVID)
_KEPT = (_KEPT_SVID, kept(SECRET, TRUST_BUNDLE))


class Wallet:
    """Holds the current secrets. `folder` is the certificate authority's; nothing is made before `follow`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._record = RootRecord(folder.parent / "trusted-roots.json")
        self._authority: CertificateAuthority | None = None
        self._issuer: SvidIssuer | None = None
        self._settings: Settings | None = None
        self._given: dict[Name, tuple[Artifact, ...]] = {}
        self.made_root = False
        """Whether the root is one that this process has made."""

    @property
    def trust_domain(self) -> str:
        """The trust domain that this controller signs for; empty before the first mesh."""
        return self._settings.trust_domain if self._settings is not None else ""

    @property
    def rootless(self) -> bool:
        """Whether proxies trust another root than is here, so that they keep the certificates that they have."""
        return self._settings is not None and self._authority is None

    @property
    def publishing(self) -> bool:
        """Whether proxies are given a new root beside the old one, and no leaves of it yet."""
        return self._authority is not None and bool(self._record.trusted and self._record.trusted.publishing)

    def follow(self, settings: Settings, *, live: bool = False) -> None:
        """Sign for this mesh from now on. `live`: proxies may hold certificates already.

        Raises `Stalled` where its root cannot be had, or used.
        """
        if self._settings is None:
            self._open(settings, live=live)
        if self.trust_domain != settings.trust_domain:
            raise Stalled(
                f"this controller signs for `{self.trust_domain}`, the mesh asks for `{settings.trust_domain}`",
                hint="another trust domain needs a controller, and a state folder, of its own",
            )
        leaf_s = self._settings.leaf_s if self._settings is not None else 0
        self._settings = settings
        if self._authority is not None and (self._issuer is None or settings.leaf_s != leaf_s):
            self._issuer = SvidIssuer(self._authority, self._clock, settings.leaf_s)
            self._given.clear()

    def secrets(self, service: Name) -> tuple[Artifact, ...]:
        """The SDS secrets of a service's nodes. Raises `Stalled` before `follow`, or when the root has expired."""
        if self.rootless:
            return _KEPT
        given = self._given.get(service)
        if given is None:
            given = self._given[service] = (self._leaf(service), trust_bundle_secret(self._bundle()))
        return given

    def renew_due(self) -> tuple[Name, ...]:
        """Renew what is due now; returns whose. A root that nothing needs any more is left out, too."""
        if self._issuer is None or self.publishing:
            return ()
        due = self._issuer.due(self._clock.now())
        for service in due:
            self._issuer.renew(service)
            self._given.pop(service, None)
        if self._record.retire(self._clock.now()):
            due = tuple(sorted({*due, *self._given}))
            self._given.clear()
        return due

    def next_renewal(self) -> datetime | None:
        """When the next service is due."""
        return self._issuer.next_renewal() if self._issuer is not None else None

    def doubt(self) -> None:
        """Proxies have turned out to hold certificates already: a root that was made here is none of theirs.

        Raises `Stalled` where that cannot be written.
        """
        if self.made_root:
            self._record.write(Trusted())
            CertificateAuthority.discard(self._folder)
            self._authority, self._issuer, self.made_root = None, None, False
            self._given.clear()

    def publish(self) -> None:
        """Let proxies trust a new root beside the old one, where that is known. Raises `Stalled`."""
        assert self._settings is not None
        authority = self._sign_from_folder(self._settings)
        self._record.publish(authority.bundle_pem)
        self._take(authority, self._settings)

    def sign(self) -> None:
        """Give out leaves of the new root; the old one stays trusted until the last of its own has ended."""
        assert self._settings is not None
        assert self._authority is not None
        ends = self._clock.now() + timedelta(seconds=self._settings.leaf_s)
        self._record.sign(self._authority.bundle_pem, ends)
        self._given.clear()

    def _open(self, settings: Settings, *, live: bool) -> None:
        """Find the root that proxies trust, or make the first one; else they keep what they have."""
        there, trusted = CertificateAuthority.is_in(self._folder), self._record.trusted
        if not there and (live or trusted is not None):
            self._record.write(trusted or Trusted())
            self._settings = settings
            return
        authority = self._sign_from_folder(settings)
        if trusted is None or not trusted.roots:  # where the trusted one is not known, a person has put this one here
            self._record.sign(authority.bundle_pem, self._clock.now())
        elif not trusted.knows(authority.bundle_pem):
            self._settings = settings
            return
        self.made_root = not there
        self._take(authority, settings)

    def _sign_from_folder(self, settings: Settings) -> CertificateAuthority:
        return CertificateAuthority.open(self._folder, settings.trust_domain, self._clock.now(), settings.root_s)

    def _take(self, authority: CertificateAuthority, settings: Settings) -> None:
        self._authority, self._settings = authority, settings
        self._issuer = SvidIssuer(authority, self._clock, settings.leaf_s)
        self._given.clear()

    def _leaf(self, service: Name) -> Artifact:
        if self._issuer is None:
            raise Stalled("no mesh is known yet, so there is nothing to sign for")
        if self.publishing:
            return _KEPT_SVID
        svid = self._issuer.svid(service)
        return svid_secret(svid.certificate_chain_pem, svid.key_pem)

    def _bundle(self) -> bytes:
        assert self._record.trusted is not None
        return b"".join(self._record.trusted.pems)
