"""Signatures of bundles, as OPA verifies them: a JWT that lists the SHA-256 of every file.

Source of the format: OPA's documentation of bundle signing. Structured files (`.json`, `.manifest`) are hashed over
their canonical form, keys sorted and nothing between; that is how `bundle` writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.utils import der_to_raw_signature

ALGORITHM = "ES256"
KEY_ID = "policyd"
"""What verifiers know the key by, unless they are told another name."""


class SignatureError(ValueError):
    """The bundle is not signed by the key that it has to be signed by, or not as a whole."""


class _Repeatable(ECAlgorithm):
    """ES256 with the nonce of RFC 6979, so that equal content has an equal signature."""

    def sign(self, msg: bytes, key: Any) -> bytes:
        try:
            der = key.sign(msg, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:  # an older OpenSSL: as good a signature, but another one each time
            return super().sign(msg, key)
        return der_to_raw_signature(der, key.curve)


class Signer:
    """Signs with one private key (P-256, PEM). Raises `ValueError` for any other key."""

    def __init__(self, private_pem: bytes, key_id: str = KEY_ID) -> None:
        key = serialization.load_pem_private_key(private_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("bundles are signed with a P-256 key")  # noqa: TRY004
        self._key = key
        self._key_id = key_id
        self._jws = jwt.PyJWS(algorithms=[])
        self._jws.register_algorithm(ALGORITHM, _Repeatable(ECAlgorithm.SHA256))

    @property
    def public_pem(self) -> bytes:
        """The key that verifiers need."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, files: Mapping[str, bytes]) -> bytes:
        """The content of `.signatures.json` for files that are canonical already."""
        listed = [
            {"algorithm": "SHA-256", "hash": hashlib.sha256(body).hexdigest(), "name": name}
            for name, body in sorted(files.items())
        ]
        payload = orjson.dumps({"files": listed, "iss": "policyd"})
        token = self._jws.encode(payload, self._key, algorithm=ALGORITHM, headers={"kid": self._key_id})
        return orjson.dumps({"signatures": [token]})


class Verifier:
    """Verifies with one public key (P-256, PEM). Raises `ValueError` for any other key."""

    def __init__(self, public_pem: bytes) -> None:
        key = serialization.load_pem_public_key(public_pem)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("bundles are verified with a P-256 key")  # noqa: TRY004
        self._key = key

    def verify(self, signatures: bytes, files: Mapping[str, bytes]) -> None:
        """Raise `SignatureError` unless the signature is this key's and lists exactly these files as they are."""
        try:
            (token,) = orjson.loads(signatures)["signatures"]
            payload = jwt.api_jws.decode(token, self._key, algorithms=[ALGORITHM])
            listed = {each["name"]: (each["algorithm"], each["hash"]) for each in orjson.loads(payload)["files"]}
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SignatureError(f"the signature does not hold: {error}") from error
        if listed.keys() != files.keys():
            odd = ", ".join(sorted(listed.keys() ^ files.keys()))
            raise SignatureError(f"the signature and the bundle do not agree on {odd}")
        for name, body in files.items():
            if listed[name] != ("SHA-256", _digest(name, body)):
                raise SignatureError(f"`{name}` is not what was signed")


def canonical(value: object) -> bytes:
    """JSON in the one form that is hashed: sorted keys, no spaces, line separators escaped as Go does it."""
    written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return written.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def _digest(name: str, body: bytes) -> str:
    """The SHA-256 of a file; of its canonical form where it is structured. Nothing was ever signed that has none."""
    if name.endswith((".json", ".manifest")):
        try:
            body = canonical(orjson.loads(body))
        except (ValueError, TypeError) as error:
            raise SignatureError(f"`{name}` is not what was signed: {error}") from error
    return hashlib.sha256(body).hexdigest()
