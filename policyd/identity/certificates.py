"""Certificates that gateways show to clients outside: read from files, kept while new ones do not belong together.

    settings (which files) -> Certificates -> pairs by name -> what gateways are given

Files are looked at again and again, since whoever renews them cannot be asked to say so. He writes two files, one
after the other; between the two they are no pair, and what was there before goes on being shown. A certificate that
was never to be had closes its listeners alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from policyd.base.clock import Clock

LONGEST = 1024 * 1024
"""Bytes of a file."""
_RULE = b"-----"
"""Stands four times in each part of a PEM file (RFC 7468). A reader of certificates passes over a part without end,
an Envoy does not."""
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_LOG = structlog.get_logger("certificates")


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate, with those that signed it, and its key are."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (leaf first) and the key that belongs to it, PEM."""

    chain: bytes
    key: bytes = field(repr=False)


class Certificates:
    """The pairs that are to be had, by name; nothing is read before `refresh`."""

    def __init__(self, files: Mapping[str, Files], clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._pairs: Mapping[str, Pair] = {}
        self._wrong: dict[str, str] = {}

    @property
    def pairs(self) -> Mapping[str, Pair]:
        """The newest pair of each name; another object whenever one of them has changed."""
        return self._pairs

    @property
    def trouble(self) -> str:
        """What is wrong with any of them; empty if all is well."""
        return "; ".join(self._wrong[name] for name in sorted(self._wrong))

    def refresh(self) -> bool:
        """Look at every file; returns whether a pair has come or changed."""
        found = dict(self._pairs)
        for name, files in sorted(self._files.items()):
            try:
                found[name] = _read(files)
            except (OSError, ValueError, UnsupportedAlgorithm) as error:
                meanwhile = "what was there before is shown" if name in found else "its listeners are closed"
                self._say(name, f"{_in_words(error)}; {meanwhile}")
            else:
                self._say(name, _ended(found[name], self._clock.now()))
        if found == self._pairs:
            return False
        self._pairs = found
        return True

    def _say(self, name: str, words: str) -> None:
        said = f"certificate `{name}`: {words}" if words else ""
        if said and self._wrong.get(name) != said:
            _LOG.warning("certificate", certificate=name, trouble=words)
        if said:
            self._wrong[name] = said
        else:
            self._wrong.pop(name, None)


def _read(files: Files) -> Pair:
    """The pair in two files. Raises `OSError`, `ValueError` or `UnsupportedAlgorithm` where there is none."""
    pair = Pair(_bytes(files.chain), _bytes(files.key))
    leaf = x509.load_pem_x509_certificates(pair.chain)[0]
    if pair.chain.count(_RULE) != 4 * pair.chain.count(_RULE + b"BEGIN "):
        raise ValueError(f"`{files.chain}` ends in the middle of a certificate")
    try:
        key = serialization.load_pem_private_key(pair.key, None)
    except TypeError:  # what the library makes of a key that asks for a passphrase
        raise ValueError(f"the key in `{files.key}` is encrypted") from None
    public, form = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER
    if leaf.public_key().public_bytes(form, public) != key.public_key().public_bytes(form, public):
        raise ValueError("the key is not that of the certificate")
    if not _shown(key):
        raise ValueError("proxies show certificates with RSA keys of 2048 bits or more, or on P-256, P-384 or P-521")
    return pair


def _shown(key: object) -> bool:
    """Whether an Envoy takes it. One that it refuses keeps the node's other secrets waiting."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.key_size >= 2_048
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        read = file.read(LONGEST + 1)
    if len(read) > LONGEST:
        raise ValueError(f"`{path}` is longer than {LONGEST} bytes")
    return read


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"`{error.filename}` cannot be read: {(error.strerror or str(error)).lower()}"
    return (str(error).splitlines() or ["it is no certificate with its key"])[0].rstrip(".")


def _ended(pair: Pair, now: datetime) -> str:
    """Whether clients will refuse it; it is shown all the same, so that they say why."""
    end = x509.load_pem_x509_certificates(pair.chain)[0].not_valid_after_utc
    return f"it ended at {end:%Y-%m-%d %H:%M}, so that clients refuse it" if now >= end else ""
