"""An identity that is worth nothing: for proxies' validators that insist on reading a certificate and a key.

Made anew whenever it is asked for, trusted by nobody, kept nowhere; no real key ever reaches a validator.
"""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.compiler.protocol import Secrets
from policyd.identity.authority import CertificateAuthority, key_pem
from policyd.model.names import Name

_NOBODY = Name("nowhere", "nobody")
_LIFE_S = 3_600


def throwaway_secrets(trust_domain: str, at: datetime) -> Secrets:
    """A certificate, its key and its root, all of them new; valid for an hour from `at`."""
    authority = CertificateAuthority.throwaway(trust_domain, at, _LIFE_S)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(key.public_key(), _NOBODY, at, _LIFE_S)
    return Secrets(
        certificate_chain=leaf.public_bytes(serialization.Encoding.PEM),
        private_key=key_pem(key),
        roots=authority.bundle_pem,
    )
