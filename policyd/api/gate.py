"""Asks every caller of the management API who it is, but for health."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import refusal
from policyd.api.credentials import Gatekeeper, Role

OPEN = ("/healthz", "/readyz")
_DECISIONS = ("/v1/data", "/v1/differing", "/v1/explain", "/bundles/")


class Gate:
    """ASGI middleware: 401 for whom nobody knows, 403 for who lacks the role."""

    def __init__(self, app: ASGIApp, keeper: Gatekeeper) -> None:
        self._app = app
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            role = role_for(scope["method"], scope["path"])
            said = dict(scope["headers"]).get(b"authorization", b"")
            refused = self._keeper.admits(said, role)
            if refused:
                words = (
                    "no token, or one that is not known" if refused == 401 else f"the token lacks the role `{role}`"
                )
                error = BadRequest(words, code="unauthorized", status=refused, hint="Authorization: Bearer TOKEN")
                response = refusal(error)
                if refused == 401:
                    response.headers["WWW-Authenticate"] = "Bearer"
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def role_for(method: str, path: str) -> Role:
    """What a caller has to be allowed for a request."""
    if path.startswith(_DECISIONS):
        return "decide"
    return "read" if method in {"GET", "HEAD"} else "operate"
