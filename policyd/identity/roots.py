"""Which roots proxies trust, remembered apart from the root itself: so that its loss is noticed, and can be mended.

    folder/trusted-roots.json   certificates (public) that proxies were given, and from when on one is not needed

A root that is made because the old one is gone cuts proxies off from each other, for as long as one of them has the
old and another one the new. The controller therefore makes one only where no proxy holds any, and changes from one to
another only by a person's word: both are published first, then leaves of the new one follow, then the old one goes.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from policyd.base.errors import Stalled


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """A root certificate in PEM. `until`: when its last leaf has ended; `None` while leaves are signed by it."""

    pem: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trusted:
    """What proxies hold. No roots at all: some that is not known here.

    `publishing`: the newest root is being given to them, and no leaf of it yet.
    """

    roots: tuple[TrustedRoot, ...] = ()
    publishing: bool = False

    def knows(self, pem: bytes) -> bool:
        """Whether proxies were given this root."""
        return any(root.pem == pem.decode() for root in self.roots)

    @property
    def pems(self) -> tuple[bytes, ...]:
        """Every root, oldest first."""
        return tuple(root.pem.encode() for root in self.roots)


_TRUSTED = TypeAdapter(Trusted)


class RootRecord:
    """The file at `path`. `trusted` is `None` where nothing was ever written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trusted = _read(path)

    def write(self, trusted: Trusted) -> None:
        """Remember what proxies are given, before they are. Raises `Stalled` where it cannot be written."""
        if trusted == self.trusted:
            return
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".trusted-roots-", dir=self._path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_TRUSTED.dump_json(trusted))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError as error:
            raise Stalled(f"`{self._path}` cannot be written: {error.strerror}") from error
        self.trusted = trusted

    def publish(self, pem: bytes) -> None:
        """Begin to give proxies a new root beside those that they have."""
        roots = self.trusted.roots if self.trusted is not None else ()
        others = tuple(root for root in roots if root.pem != pem.decode())
        # Where the old root is not known, there is nothing to publish the new one beside.
        self.write(Trusted((*others, TrustedRoot(pem.decode())), publishing=bool(others)))

    def sign(self, pem: bytes, last_leaf_ends: datetime) -> None:
        """Leaves are signed by this root from now on; those of all others have ended by `last_leaf_ends`."""
        roots = self.trusted.roots if self.trusted is not None else ()
        others = tuple(
            replace(root, until=root.until or last_leaf_ends) for root in roots if root.pem != pem.decode()
        )
        self.write(Trusted((*others, TrustedRoot(pem.decode()))))

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
