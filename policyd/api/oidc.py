"""Bearer tokens that an OpenID provider signed: verified by its published keys, which are fetched beforehand.

The keys come from a file or from the one URL in the settings. `alg: none`, symmetric algorithms, keys of another type
than the algorithm's, other issuers and audiences, and what has ended are all refused by PyJWT.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import structlog
from pydantic import Field

from policyd.base.errors import UsageError
from policyd.identity.key_sets import Fetching, check_url, fetch_key_set
from policyd.intents.kind import Many
from policyd.intents.settings_file import Section
from policyd.model.tokens import KeySetError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_S = 30
"""How far the clock of the provider may be from ours."""
REMEMBERED = 4096


class Oidc(Section):
    """An OpenID provider. `jwks` is the URL or the file of its keys."""

    issuer: str
    audience: str
    jwks: str
    claim: str = "roles"
    """The claim that holds a caller's roles: a list, or words in one string."""
    roles: dict[str, str] = Field(default_factory=dict)
    """From the provider's words to ours (`read`, `decide`, `operate`); our own words need no entry."""
    algorithms: Many[str] = ("RS256", "ES256")
    refresh_s: float = Field(default=300.0, gt=0)


class OidcTokens:
    """Verifies tokens of one provider. Nothing is fetched here; `keys` has to be given them."""

    def __init__(self, settings: Oidc, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._algorithms = [name for name in settings.algorithms if name in ALGORITHMS]
        self._now = now
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._verified: OrderedDict[bytes, tuple[frozenset[str], float]] = OrderedDict()

    def keys(self, document: bytes) -> None:
        """Take the provider's keys from here on. Raises `ValueError`, and changes nothing, where they are none."""
        try:
            found = jwt.PyJWKSet.from_json(document.decode())
            known = {key.key_id: key for key in found.keys if key.key_id and key.key_type != "oct"}
        except (jwt.PyJWTError, ValueError, AttributeError, TypeError, KeyError) as error:
            raise ValueError(f"not a set of keys: {error}") from error
        self._keys = known
        self._verified.clear()

    def roles(self, token: bytes) -> frozenset[str] | None:
        """The roles that a token gives; `None` for one that does not hold."""
        known = self._verified.get(token)
        if known is not None:
            return known[0] if self._now() < known[1] else None
        try:
            claims = self._claims(token.decode("ascii"))
            ends = float(claims["exp"]) + LEEWAY_S
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
            return None
        given = claims.get(self._settings.claim, ())
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
        roles = frozenset(self._settings.roles.get(word, word) for word in words if isinstance(word, str))
        self._verified[token] = (roles, ends)
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)
        return roles

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that holds. Raises what PyJWT raises, and `KeyError` for an unknown key."""
        key = self._keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(
            token,
            key,
            algorithms=self._algorithms,
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )


def check_keys(settings: Oidc | None, fetching: Fetching) -> None:
    """Raise `UsageError` for a URL of keys that may not be asked."""
    if settings is None or not _remote(settings.jwks):
        return
    try:
        check_url(settings.jwks, fetching)
    except (KeySetError, ValueError) as error:
        hint = f"`fetch: {{hosts: [{urlsplit(settings.jwks).hostname}]}}` allows it" if "host" in str(error) else ""
        raise UsageError(f"`auth.oidc.jwks`, `{settings.jwks}`: {error}", hint=hint) from error


async def refresh(tokens: OidcTokens, settings: Oidc, fetching: Fetching) -> None:
    """Keep the keys fresh; never ends by itself. Keys that cannot be had, or are none, leave those that are known."""
    log, failed = structlog.get_logger("oidc"), 0
    while True:
        try:
            tokens.keys(await _keys(settings.jwks, fetching))
            failed = 0
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            failed += 1
            log.warning("keys not fetched", jwks=settings.jwks, error=str(error) or type(error).__name__)
        await asyncio.sleep(min(settings.refresh_s, 2.0**failed) if failed else settings.refresh_s)


async def _keys(jwks: str, fetching: Fetching) -> bytes:
    if _remote(jwks):
        return (await fetch_key_set(jwks, fetching)).encode()
    return await asyncio.to_thread(Path(jwks).read_bytes)


def _remote(jwks: str) -> bool:
    return jwks.startswith(("https://", "http://"))
