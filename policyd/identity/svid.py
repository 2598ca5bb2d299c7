"""SVIDs: the certificate and key that each service's sidecars hold now, and when the next ones are due.

The daemon calls `due` and `renew`; the bytes go to the proxies as SDS secrets. Keys are made here, in memory, until
agents make them beside the proxy and send only the public half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.base.clock import Clock
from policyd.identity.authority import CertificateAuthority, key_pem
from policyd.model.names import Name

HALF_LIFE = 0.5
JITTER = 0.1
"""Renewal falls between 40 % and 50 % of a leaf's life, so that the services of a mesh do not renew together."""


@dataclass(frozen=True, slots=True)
class Svid:
    """One service's identity document. All instants are UTC."""

    service: Name
    certificate_chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    renew_at: datetime


def spread(service: Name) -> float:
    """A share in [0, 1) that depends on the name alone: the same service renews at the same point of its life."""
    return int.from_bytes(hashlib.sha256(str(service).encode()).digest()[:4], "big") / 2**32


def renewal(issued: datetime, not_after: datetime, jitter: float) -> datetime:
    """When a leaf issued at `issued` is renewed; `jitter` in [0, 1) moves it ahead of half-life."""
    return issued + (not_after - issued) * (HALF_LIFE - JITTER * jitter)


class SvidIssuer:
    """Keeps the current SVID of each service. `leaf_s` is the lifetime of a leaf in seconds."""

    def __init__(
        self,
        authority: CertificateAuthority,
        clock: Clock,
        leaf_s: float,
        jitter: Callable[[Name], float] = spread,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._leaf_s = leaf_s
        self._jitter = jitter
        self._current: dict[Name, Svid] = {}

    @property
    def bundle_pem(self) -> bytes:
        """The roots that peers are verified against."""
        return self._authority.bundle_pem

    def svid(self, service: Name) -> Svid:
        """The current SVID, issued if there is none or the one there was has expired. Raises `Stalled`."""
        current = self._current.get(service)
        if current is None or current.not_after <= self._clock.now():
            return self.renew(service)
        return current

    def renew(self, service: Name) -> Svid:
        """Issue a new SVID with a new key in place of the current one. Raises `Stalled` if the root has expired."""
        at = self._clock.now()
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._authority.sign(key.public_key(), service, at, self._leaf_s)
        not_after = leaf.not_valid_after_utc
        # A leaf that the root's own end cuts short gains nothing by renewal: it would only be renewed ever faster.
        cut_short = not_after >= self._authority.not_after
        svid = Svid(
            service=service,
            certificate_chain_pem=leaf.public_bytes(serialization.Encoding.PEM),
            key_pem=key_pem(key),
            not_before=leaf.not_valid_before_utc,
            not_after=not_after,
            renew_at=not_after if cut_short else renewal(at, not_after, self._jitter(service)),
        )
        self._current[service] = svid
        return svid

    def due(self, at: datetime) -> tuple[Name, ...]:
        """Services whose SVID is to be renewed at the instant `at`, sorted.

        One that is not valid yet was issued before the clock was set back: peers refuse it, so it is due as well.
        """
        root_begins = self._authority.not_before
        return tuple(
            sorted(
                service
                for service, svid in self._current.items()
                if svid.renew_at <= at or root_begins <= at < svid.not_before
            )
        )

    def next_renewal(self) -> datetime | None:
        """The instant when the next service becomes due; `None` if no SVID was issued."""
        return min((svid.renew_at for svid in self._current.values()), default=None)

    def retain(self, services: Iterable[Name]) -> None:
        """Forget the SVIDs of all other services."""
        kept = frozenset(services)
        self._current = {service: svid for service, svid in self._current.items() if service in kept}
