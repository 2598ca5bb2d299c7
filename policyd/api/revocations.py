"""`/v1/revocations`: who is cut off, on how many proxies that holds, and the orders to cut off and to lift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import answer, from_a_browser, read_object, refusal
from policyd.base.errors import PolicydError


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """One revocation, and the proof that it holds: the proxies that it concerns, and those that do not show it."""

    name: str
    identity: str
    """The SPIFFE ID that is cut off; empty for a root."""
    to: str
    """The service that it is cut off from; empty where it is cut off from all."""
    root: str
    reason: str
    since: str
    asked_for: bool
    """Whether the head of Git still says so; if not, `lift` ends it."""
    proxies: int
    missing: tuple[str, ...]
    """Nodes that have not acknowledged it, each with the reason."""
    cut_after_s: float | None = None
    """In the answer to an order: seconds until the last open connection was ended; `None` while that is not known."""
    note: str = ""
    """What a person has to know besides: that no root of this mesh is meant, for one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants cut off: `identity` (`name`, `namespace/name` or a SPIFFE ID), or `root`, a SHA-256."""

    identity: str
    to: str
    reason: str
    name: str
    root: str = ""
    anyway: bool = False
    """Whether the identity is meant even where nobody is known by it."""


class Revoking(Protocol):
    """Who keeps the floor; the daemon implements it."""

    def all(self) -> tuple[RevocationStatus, ...]:
        """Every revocation that holds."""
        ...

    async def revoke(self, order: Order) -> RevocationStatus:
        """Cut off at once. Raises `UsageError` for an order that means nobody."""
        ...

    async def lift(self, name: str) -> tuple[RevocationStatus, ...]:
        """End one. Raises `UsageError` where Git still asks for it, `Retry` or `Stalled` where it is not written."""
        ...


class RevocationsEndpoint:
    """Answers for one mesh."""

    def __init__(self, revoking: Revoking) -> None:
        self._revoking = revoking

    async def list(self, request: Request) -> Response:
        """`GET /v1/revocations`."""
        return answer({"revocations": self._revoking.all()}, pretty="pretty" in request.query_params)

    async def revoke(self, request: Request) -> Response:
        """`POST /v1/revocations` with `{identity or root, to?, reason, name?, anyway?}`; answers once proxies did."""
        if "origin" in request.headers:
            return from_a_browser()
        try:
            return answer(await self._revoking.revoke(_order(await read_object(request))))
        except BadRequest as error:
            return refusal(error)
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))

    async def lift(self, request: Request) -> Response:
        """`POST /v1/revocations/{namespace}/{name}/lift`."""
        if "origin" in request.headers:
            return from_a_browser()
        try:
            name = f"{request.path_params['namespace']}/{request.path_params['name']}"
            return answer({"lifted": await self._revoking.lift(name)})
        except PolicydError as error:
            return refusal(BadRequest(str(error), code="conflict", status=409, hint=error.hint))


def _order(said: dict[str, Any]) -> Order:
    unknown = sorted(said.keys() - {"identity", "to", "reason", "name", "root", "anyway"})
    if unknown:
        raise BadRequest(f"unknown field `{unknown[0]}`")
    for field in ("reason", *(() if said.get("root") else ("identity",))):
        if not isinstance(said.get(field), str) or not said[field].strip():
            raise BadRequest(f"`{field}` is not given")
    for field in ("identity", "to", "name", "root"):
        if not isinstance(said.get(field, ""), str):
            raise BadRequest(f"`{field}` is not text")
    if not isinstance(said.get("anyway", False), bool):
        raise BadRequest("`anyway` is not a boolean")
    if said.get("root") and (said.get("identity") or said.get("to")):
        raise BadRequest("`root` stands alone", hint="what a root has signed is cut off from all")
    return Order(
        identity=said.get("identity", ""),
        to=said.get("to", ""),
        reason=said["reason"],
        name=said.get("name", ""),
        root=said.get("root", ""),
        anyway=said.get("anyway", False),
    )
