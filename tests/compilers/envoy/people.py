"""Somebody who issues tokens: real keys, real signatures, and every way to get a token wrong."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from policyd.model.tokens import Issuer


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class People:
    """An issuer with one P-256 key. Tokens are ES256 (RFC 7518, section 3.4)."""

    name: str = "people"
    url: str = "https://people.example/"
    audiences: tuple[str, ...] = ("shop",)
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def keys(self) -> str:
        """The JWK set."""
        point = self._key.public_key().public_numbers()
        numbers = {name: _b64(value.to_bytes(32, "big")) for name, value in (("x", point.x), ("y", point.y))}
        return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.name, **numbers}]})

    @property
    def issuer(self) -> Issuer:
        """As a mesh names him."""
        return Issuer(self.name, self.url, self.audiences, keys=self.keys)

    def claims(self, **changed: object) -> dict[str, object]:
        """What a good token says, with changes; `None` leaves a claim out."""
        said = {"iss": self.url, "aud": self.audiences[0], "sub": "ada", "exp": int(time.time()) + 600, **changed}
        return {name: value for name, value in said.items() if value is not None}

    def token(self, **changed: object) -> str:
        """A token with these claims, signed."""
        return self.headed({}, **changed)

    def headed(self, header: Mapping[str, object], **changed: object) -> str:
        """The same with more in its header, or something else."""
        said = self.said({"alg": "ES256", "kid": self.name, **header}, **changed)
        r, s = decode_dss_signature(self._key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{said}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def said(self, header: Mapping[str, object], **changed: object) -> str:
        """Header and claims, for a signature of the test's own."""
        return ".".join(_b64(json.dumps(part).encode()) for part in (header, self.claims(**changed)))
