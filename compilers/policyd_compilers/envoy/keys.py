"""Which keys of an issuer Envoy can use. It refuses a whole listener for a set in which it finds none.

So what it would not read is left out before. A key that stays is one that can be computed with: a point on its
curve, a modulus of some size, for the algorithm that it names if it names one. Source: RFC 7517, section 4; RFC 7518,
sections 3.1 and 6; RFC 8037, section 2.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_CURVES: Mapping[str, Callable[[], ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1,
}  # fmt: skip
_ALGORITHMS: Mapping[str, str] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
"""Of the keys of a curve; RSA keys are for all of the others."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
SHORTEST_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""
LONGEST_RSA_BITS, RSA_EXPONENTS = 8_192, (3, 65_537)
"""What Envoy computes with: any other exponent was refused by a real one."""


def usable_keys(text: str) -> str:
    """The JWK set without keys that Envoy cannot use; empty where none is left, or the text is no such set."""
    try:
        said = json.loads(text)
    except ValueError:
        return ""
    keys = said.get("keys") if isinstance(said, dict) else None
    kept = [key for key in keys if isinstance(key, dict) and _usable(key)] if isinstance(keys, list) else []
    return json.dumps({"keys": kept}, sort_keys=True, separators=(",", ":")) if kept else ""


def _usable(key: Mapping[str, Any]) -> bool:
    algorithm = key.get("alg")
    try:
        match key.get("kty"):
            case "EC":
                curve = _CURVES[key["crv"]]()
                ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
            case "RSA":
                exponent, modulus = _number(key["e"]), _number(key["n"])
                rsa.RSAPublicNumbers(exponent, modulus).public_key()
                sized = SHORTEST_RSA_BITS <= modulus.bit_length() <= LONGEST_RSA_BITS
                return (
                    sized and exponent in RSA_EXPONENTS and (algorithm is None or algorithm.startswith(("RS", "PS")))
                )
            case "OKP":
                if key["crv"] != "Ed25519":
                    return False
                ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key["x"]))
            case _:
                return False
    except (KeyError, ValueError, TypeError):
        return False
    return algorithm is None or algorithm == _ALGORITHMS[key["crv"]]


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: str) -> bytes:
    """Base64url (RFC 7515, section 2). Raises `ValueError` or `TypeError`."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("it is not base64url")
    return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
