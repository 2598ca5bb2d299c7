"""Tokens of the people behind a call: who issues them, and what a rule may ask of them.

A token (JWT, RFC 7519) is asked for beside the identity of the calling service, never in its place. It travels in
`authorization: Bearer ...`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

_TYPES = ("RSA", "EC", "OKP")


class KeySetError(ValueError):
    """A text that cannot be used as a set of public keys; the message is in the user's words."""


def key_set(text: str) -> str:
    """A JWK set in its shortest form, its keys in the order that they have. Raises `KeySetError`.

    Secrets have no place in it: who holds a private or a symmetric key can issue tokens. What is no text in a
    key, nor a list of texts, is left out: no field that we know is anything else, and proxies refuse sets for it.
    Source: RFC 7517, sections 4 and 5; RFC 7518, section 6.
    """
    try:
        said = json.loads(text)
        keys = said.get("keys") if isinstance(said, dict) else None
    except (ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise KeySetError("it is not a JWK set")
    if any(key.get("kty") == "oct" or "d" in key for key in keys):
        raise KeySetError("it holds a secret")
    usable = [found for key in keys if (found := _texts(key)).get("kty") in _TYPES]
    if not usable:
        raise KeySetError("it holds no public key of a known type (`RSA`, `EC`, `OKP`)")
    return json.dumps({"keys": usable}, sort_keys=True, separators=(",", ":"))


def _texts(key: dict[str, object]) -> dict[str, object]:
    return {field: value for field, value in key.items() if _is_text(field) and _is_known(value)}


def _is_known(value: object) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _is_text(value: object) -> bool:
    """Whether it is a string of characters that can be written: JSON may name one half of a pair."""
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody whose tokens are believed. `url` is the exact `iss` of his tokens.

    His keys are a JWK set (RFC 7517): `keys` as it stands in Git, or fetched from `keys_url`, where the controller's
    settings allow that host. Without keys no token of his is valid. A token must name one of `audiences`, if any.
    """

    name: str
    url: str
    audiences: tuple[str, ...] = ()
    keys: str = ""
    keys_url: str = ""


@dataclass(frozen=True, slots=True)
class TokenCondition:
    """A valid token of `issuer` (by its name in the mesh) with all of these claims, each with one of its values.

    A claim of the token is a string, or a list of strings of which one has to be among the values.
    """

    issuer: str
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def covers(self, other: TokenCondition | None) -> bool:
        """Whether every token that meets `other` meets this one."""
        if other is None or other.issuer != self.issuer:
            return False
        asked = dict(other.claims)
        return all(name in asked and set(asked[name]) <= set(values) for name, values in self.claims)
