"""The secrets of every service's sidecars: issued when a mesh is known, renewed before they expire.

Sits between `identity` (who signs) and `delivery` (how a secret reaches a proxy). The same tuple is given out for as
long as nothing was renewed, so that a renewal touches the nodes of one service and nobody else.

Where the root is gone that proxies trust, every proxy keeps the secrets that it has (`kept`): all else goes on, and
its certificate is good until it ends. A person's word lets a new root take its place, in two moves: first proxies
trust both, then they get leaves of the new one. A root that is distrusted is in no bundle from then on, and what it
signed is replaced at once: there distrust goes before every other care.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import SVID, TRUST_BUNDLE
from policyd.delivery.resource_types import SECRET
from policyd.delivery.snapshot import kept
from policyd.delivery.xds.secrets import svid_secret, trust_bundle_secret
from policyd.identity import CertificateAuthority, RootRecord, SvidIssuer, Trusted, fingerprint
from policyd.model.mesh import Settings
from policyd.model.names import Name

_KEPT_SVID = kept(SECRET, SVID)
_KEPT = (_KEPT_SVID, kept(SECRET, TRUST_BUNDLE))


class Wallet:
    """Holds the current secrets. `folder` is the certificate authority's; nothing is made before `follow`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._log = structlog.get_logger("identity")
        self._record = RootRecord(folder.parent / "trusted-roots.json")
        self._authority: CertificateAuthority | None = None
        self._issuer: SvidIssuer | None = None
        self._settings: Settings | None = None
        self._given: dict[Name, tuple[Artifact, ...]] = {}
        self._distrusted: frozenset[str] = frozenset()
        self._unkept: CertificateAuthority | None = None
        self.unwritten = ""
        """Why what holds now would not outlive the process; empty if it would."""
        self.holds_distrusted = False
        """Whether the root that was found in the folder is a distrusted one, so that it is not used."""
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

    @property
    def dropped(self) -> tuple[str, ...]:
        """The roots that proxies were given, or may have been, and that are distrusted since; SHA-256, sorted."""
        return self._record.trusted.dropped if self._record.trusted is not None else ()

    @property
    def trusted(self) -> tuple[str, ...]:
        """The roots that proxies are given, oldest first; SHA-256. None where that is not known."""
        return self._record.trusted.fingerprints if self._record.trusted is not None else ()

    def distrust(self, roots: Collection[str]) -> bool:
        """Trust these roots no more; whether proxies have to be given other secrets. Holds though nothing is written.

        One that nobody was given is remembered, and refused if it comes.
        """
        self._distrusted |= set(roots)
        return self._settings is not None and self._heed(self._settings)

    def readmit(self, roots: Collection[str]) -> None:
        """Refuse these roots no more. Nothing brings them back by that: proxies have others now."""
        self._distrusted -= set(roots)
        known = self._record.trusted
        if known is not None and not set(roots).isdisjoint(known.dropped):
            self._record.hold(replace(known, dropped=tuple(sorted(set(known.dropped) - set(roots)))))
            self._write_what_is_left()

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
        self._write_what_is_left()
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
            self._record.write(Trusted(dropped=self.dropped))
            CertificateAuthority.discard(self._folder)
            self._authority, self._issuer, self.made_root = None, None, False
            self._given.clear()

    def publish(self) -> None:
        """Let proxies trust a new root beside the old one, where that is known. Raises `Stalled`."""
        assert self._settings is not None
        authority = self._from_folder(self._settings)
        if authority is None:
            authority = self._made(self._settings)
            authority.keep(self._folder)
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
        authority = None
        if there or not (live or trusted is not None):
            authority = self._from_folder(settings)
        if authority is None:
            self._record.write(trusted or Trusted())
        elif trusted is None or not trusted.roots:
            # Where the trusted one is not known, a person has put this one here.
            self._record.sign(authority.bundle_pem, self._clock.now())
        elif not trusted.knows(authority.bundle_pem):
            authority = None
        if authority is not None:
            self.made_root = not there
            self._take(authority, settings)
        self._settings = settings
        self._heed(settings)

    def _heed(self, settings: Settings) -> bool:
        """Exchange what is distrusted; whether anything was."""
        roots, known = self._distrusted | set(self.dropped), self._record.trusted or Trusted()
        gone = roots.intersection(known.fingerprints)
        unknown = self.rootless and not known.roots and bool(roots)
        if not (gone or unknown):
            return False
        # Leaves that proxies hold are signed by a root that does not say when its last one ends.
        signers = {each for root, each in zip(known.roots, known.fingerprints, strict=True) if root.until is None}
        authority = self._authority
        if authority is None or fingerprint(authority.bundle_pem) in roots:
            authority = self._unkept = self._made(settings)
            self.made_root = False
        signs = authority is not self._authority or not signers.isdisjoint(gone)
        ends = self._clock.now() + timedelta(seconds=settings.leaf_s)
        self._record.distrust(roots, authority.bundle_pem if signs else None, ends)
        self._log.warning("root distrusted", gone=sorted(gone), signs=fingerprint(authority.bundle_pem))
        if authority is not self._authority:
            self._take(authority, settings)
        self._given.clear()
        self._write_what_is_left()
        return True

    def _write_what_is_left(self) -> None:
        try:
            if self._unkept is not None:
                self._unkept.keep(self._folder)
                self._unkept = None
            self._record.write_what_is_left()
            self.unwritten = ""
        except Stalled as error:
            self.unwritten = str(error)

    def _from_folder(self, settings: Settings) -> CertificateAuthority | None:
        """The root that is there, or the first one; `None` for one that is distrusted. Raises `Stalled`."""
        at = self._clock.now()
        authority = CertificateAuthority.open(self._folder, settings.trust_domain, at, settings.root_s)
        distrusted = self._distrusted | set(self.dropped)
        self.holds_distrusted = bool(distrusted) and fingerprint(authority.bundle_pem) in distrusted
        return None if self.holds_distrusted else authority

    def _made(self, settings: Settings) -> CertificateAuthority:
        return CertificateAuthority.make(settings.trust_domain, self._clock.now(), settings.root_s)

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
