"""Who may ask what over HTTP: bearer tokens and OIDC, for the management API and for decision servers alike.

The settings hold the SHA-256 of each token, never the token. Roles: `read` sees status and metrics, `decide` asks
for decisions and fetches bundles, `operate` moves releases.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Annotated, Literal

from pydantic import Field

from policyd.api.oidc import Oidc, OidcTokens
from policyd.base.errors import UsageError
from policyd.intents.kind import Many
from policyd.intents.settings_file import Section

Role = Literal["read", "decide", "operate"]
_SCHEME = b"bearer "
_LONGEST = 8 * 1024


class Token(Section):
    """One bearer token."""

    name: str
    """For people: whose it is."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """`printf %s TOKEN | sha256sum`."""
    roles: Many[Role] = ("decide",)


class Auth(Section):
    """Who may ask. Nobody is asked who he is where there are neither tokens nor OIDC."""

    tokens: Many[Token] = ()
    oidc: Oidc | None = None

    @property
    def required(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.tokens) or self.oidc is not None


class Gatekeeper:
    """Tells who may do what."""

    def __init__(self, auth: Auth, oidc: OidcTokens | None = None) -> None:
        self._roles = {bytes.fromhex(token.sha256): frozenset[str](token.roles) for token in auth.tokens}
        self._oidc = oidc

    def admits(self, authorization: bytes, role: str) -> int:
        """0 where the caller may, 401 where it is not known, 403 where it lacks the role."""
        if len(authorization) > _LONGEST or authorization[: len(_SCHEME)].lower() != _SCHEME:
            return 401
        token = authorization[len(_SCHEME) :].strip()
        roles = self._known(hashlib.sha256(token).digest())
        if roles is None and self._oidc is not None:
            roles = self._oidc.roles(token)
        if roles is None:
            return 401
        return 0 if role in roles else 403

    def _known(self, digest: bytes) -> frozenset[str] | None:
        """The roles of a token by its digest. All of them are compared, in a time that tells nothing."""
        found: frozenset[str] | None = None
        for known, roles in self._roles.items():
            if hmac.compare_digest(known, digest):
                found = roles
        return found


def check_exposure(address: str, auth: Auth, what: str) -> None:
    """Raise `UsageError` where `what` would listen beyond loopback without asking who calls."""
    host = address.rpartition(":")[0].strip("[]")
    if not auth.required and not ipaddress.ip_address(host).is_loopback:
        raise UsageError(
            f"{what} cannot listen on `{address}` without authentication",
            hint="set `auth: {tokens: [...]}`, or use an address of 127.0.0.0/8",
        )
