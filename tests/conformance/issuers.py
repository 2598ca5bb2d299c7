"""Issuers of tokens with real keys, and the tokens that they would sign, and those that they would not (RFC 7519)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from policyd.decisions import Token, TokenState
from policyd.model.tokens import Issuer

AUDIENCE = "shop"
_COORDINATE = 32
HOUR_S = 3_600


class Issuers:
    """Two issuers, each with a P-256 key; tokens for the first one name an audience."""

    def __init__(self) -> None:
        self._keys = {
            url: ec.generate_private_key(ec.SECP256R1())
            for url in ("https://login.example/", "https://other.example")
        }
        login, other = self._keys
        self.known = (
            Issuer("login", login, audiences=(AUDIENCE,), keys=self._key_set(login)),
            Issuer("other", other, keys=self._key_set(other)),
        )

    def authorization(self, token: Token, forged: str) -> list[str]:
        """The values of `authorization` headers that make a proxy see `token`; `forged` says why it is not valid."""
        if token.state is TokenState.ABSENT:
            return []
        issuer = token.issuer if token.issuer in self._keys else next(iter(self._keys))
        claims = {"aud": AUDIENCE, "exp": int(time.time()) + HOUR_S, **token.claims, "iss": issuer}
        head: dict[str, str] = {"alg": "ES256", "typ": "JWT", "kid": issuer}
        match forged:
            case "nonsense":
                return ["Bearer nonsense"]
            case "none":
                return [f"Bearer {_encoded(head | {'alg': 'none'})}.{_encoded(claims)}."]
            case "expired":
                claims["exp"] = int(time.time()) - HOUR_S
            case "audience":
                claims["aud"] = "another"
                # The second issuer names no audience, so that any is his.
                claims["iss"] = issuer = next(iter(self._keys))
                head["kid"] = issuer
            case "issuer":
                claims["iss"] = "https://gone.example"
        signed = f"{_encoded(head)}.{_encoded(claims)}"
        signature = self._signature(issuer, signed)
        if forged == "signature":
            signature = self._signature(issuer, signed + "x")
        bearer = f"Bearer {signed}.{signature}"
        return [bearer, bearer] if forged == "twice" else [bearer]

    def _signature(self, issuer: str, signed: str) -> str:
        r, s = decode_dss_signature(self._keys[issuer].sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return _base64(r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE))

    def _key_set(self, url: str) -> str:
        numbers = self._keys[url].public_key().public_numbers()
        x, y = (_base64(number.to_bytes(_COORDINATE)) for number in (numbers.x, numbers.y))
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": url, "x": x, "y": y}
        return json.dumps({"keys": [key]})


def _encoded(part: Mapping[str, Any]) -> str:
    return _base64(json.dumps(part).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
