"""Tokens of the people behind a call: who issues them, and what a rule may ask of them.

A token (JWT, RFC 7519) is asked for beside the identity of the calling service, never in its place. It travels in
`authorization: Bearer ...`.
"""

from __future__ import annotations

from dataclasses import dataclass


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
