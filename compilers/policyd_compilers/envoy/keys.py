"""Which keys of an issuer Envoy can use. It refuses a whole listener for a set in which it finds none.

So what it would not read is left out before. A key that stays is one that can be computed with: a point on its
curve, a modulus of some size. Source: RFC 7518, section 6; RFC 8037, section 2.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_CURVES: Mapping[str, Callable[[], ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1,
}  # fmt: skip
SHORTEST_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""


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
    try:
        match key.get("kty"):
            case "EC":
                curve = _CURVES[key["crv"]]()
                ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
            case "RSA":
                modulus = _number(key["n"])
                rsa.RSAPublicNumbers(_number(key["e"]), modulus).public_key()
                return modulus.bit_length() >= SHORTEST_RSA_BITS
            case "OKP":
                return key["crv"] == "Ed25519" and bool(ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key["x"])))
            case _:
                return False
    except (KeyError, ValueError, TypeError, binascii.Error):
        return False
    return True


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: str) -> bytes:
    """Base64url without padding (RFC 7515, section 2). Raises `ValueError` or `TypeError`."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
