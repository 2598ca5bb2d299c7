"""Which roots proxies trust, remembered apart from the root itself: so that its loss is noticed, and can be mended.

    folder/trusted-roots.json   certificates (public) that proxies were given, and from when on one is not needed

A root that is made because the old one is gone cuts proxies off from each other, for as long as one of them has the
old and another one the new. The controller therefore makes one only where no proxy holds any, and changes from one to
another only by a person's word: both are published first, then leaves of the new one follow, then the old one goes.
A root that is distrusted goes first, and what it signed with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import TypeAdapter, ValidationError

from policyd.base.errors import Stalled
from policyd.identity.private_file import write_over


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """A root certificate in PEM. `until`: when its last leaf has ended; `None` while leaves are signed by it."""

    pem: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trusted:
    """What proxies hold. No roots at all: some that is not known here.

    `publishing`: the newest root is being given to them, and no leaf of it yet. `dropped`: the roots (SHA-256,
    sorted) that they were given, or may have been, and that are distrusted since.
    """

    roots: tuple[TrustedRoot, ...] = ()
    publishing: bool = False
    dropped: tuple[str, ...] = ()

    def knows(self, pem: bytes) -> bool:
        """Whether proxies were given this root."""
        return any(root.pem == pem.decode() for root in self.roots)

    @property
    def pems(self) -> tuple[bytes, ...]:
        """Every root, oldest first."""
        return tuple(root.pem.encode() for root in self.roots)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The SHA-256 of every root, in the same order."""
        return tuple(map(fingerprint, self.pems))


def fingerprint(pem: bytes) -> str:
    """What a person calls a root by: the SHA-256 of the certificate, 64 hex digits; empty where it is none."""
    try:
        return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    except ValueError:
        return ""


_TRUSTED = TypeAdapter(Trusted)


class RootRecord:
    """The file at `path`. `trusted` is `None` where nothing was ever written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trusted = _read(path)
        self._unwritten = False

    def write(self, trusted: Trusted) -> None:
        """Remember what proxies are given, before they are. Raises `Stalled` where it cannot be written."""
        if trusted == self.trusted and not self._unwritten:
            return
        try:
            write_over(self._path, _TRUSTED.dump_json(trusted))
        except OSError as error:
            raise Stalled(f"`{self._path}` cannot be written: {error.strerror}") from error
        self.trusted, self._unwritten = trusted, False

    def hold(self, trusted: Trusted) -> None:
        """Take this for true at once, and write it when that can be done: distrust waits for no disk."""
        self.trusted, self._unwritten = trusted, True

    def write_what_is_left(self) -> None:
        """Write what could not be written. Raises `Stalled` where it still cannot be."""
        if self._unwritten and self.trusted is not None:
            self.write(self.trusted)

    def publish(self, pem: bytes) -> None:
        """Begin to give proxies a new root beside those that they have."""
        known = self.trusted or Trusted()
        others = tuple(root for root in known.roots if root.pem != pem.decode())
        # Where the old root is not known, there is nothing to publish the new one beside.
        self.write(Trusted((*others, TrustedRoot(pem.decode())), bool(others), known.dropped))

    def sign(self, pem: bytes, last_leaf_ends: datetime) -> None:
        """Leaves are signed by this root from now on; those of all others have ended by `last_leaf_ends`."""
        self.write(self._signed_by(pem, last_leaf_ends))

    def distrust(self, roots: Collection[str], signer: bytes | None, last_leaf_ends: datetime) -> None:
        """Leave out every root that is distrusted, and say so; `signer` signs from now on, if it is given.

        Held at once. Where it is not known what proxies trust, that may be any of these.
        """
        known = self.trusted or Trusted()
        left = tuple(root for root in known.roots if fingerprint(root.pem.encode()) not in roots)
        gone = set(roots) & set(known.fingerprints) if known.roots else set(roots)
        self.hold(Trusted(left, known.publishing, tuple(sorted({*known.dropped, *gone}))))
        if signer is not None:
            self.hold(self._signed_by(signer, last_leaf_ends))

    def _signed_by(self, pem: bytes, last_leaf_ends: datetime) -> Trusted:
        known = self.trusted or Trusted()
        others = tuple(
            replace(root, until=root.until or last_leaf_ends) for root in known.roots if root.pem != pem.decode()
        )
        return Trusted((*others, TrustedRoot(pem.decode())), dropped=known.dropped)

    def retire(self, at: datetime) -> bool:
        """Leave out the roots that no leaf needs any more; whether there was one."""
        known = self.trusted if self.trusted is not None else Trusted()
        left = tuple(root for root in known.roots if root.until is None or root.until > at)
        if len(left) == len(known.roots):
            return False
        self.write(replace(known, roots=left))
        return True


def _read(path: Path) -> Trusted | None:
    """What was written; a file that cannot be read tells of roots that are not known."""
    try:
        return _TRUSTED.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        return Trusted()
