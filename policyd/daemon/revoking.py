"""Cuts off by a person's order, and proves it: which proxies hold a revocation, and which do not yet.

Stands behind `api.revocations.Revoking`. The proof is read from the ledger of acknowledgements, never from what was
sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from pydantic_core import PydanticCustomError

from policyd.api.revocations import Order, RevocationStatus
from policyd.base.errors import Retry, UsageError
from policyd.delivery.xds.server import XdsServer
from policyd.intents import units
from policyd.model.mesh import Mesh
from policyd.model.names import DEFAULT_NAMESPACE, Name, parse_spiffe_id
from policyd.model.revocation import Revocation, caller_identity
from policyd.rollout.driver import Driver
from policyd.rollout.store import Cut

T = TypeVar("T")


class MeshRevoking:
    """The floor of one controller."""

    def __init__(self, driver: Driver, xds: XdsServer) -> None:
        self._driver = driver
        self._xds = xds

    def all(self) -> tuple[RevocationStatus, ...]:
        """Every revocation that holds, with its proof."""
        return tuple(self._told(cut, asked_for=asked_for) for cut, asked_for in self._driver.closing.cuts)

    async def revoke(self, order: Order) -> RevocationStatus:
        """Cut off at once. Raises `UsageError` for an order that means nobody, `Retry` before there is a mesh."""
        promoted = self._driver.promoted
        if promoted is None:
            raise Retry("no mesh has been promoted yet, so nobody is let in", after=1.0)
        revocation = _revocation(order, promoted)
        await self._driver.closing.revoke(revocation)
        same = replace(revocation, reason="")
        return next(
            self._told(cut, asked_for=asked_for)
            for cut, asked_for in self._driver.closing.cuts
            if replace(cut.revocation, reason="") == same
        )

    async def lift(self, name: str) -> tuple[RevocationStatus, ...]:
        """End what is called so. Raises what `Closing.lift` raises."""
        meant = Name.parse(name)
        before = tuple(self._told(cut, asked_for=False) for cut, _ in self._driver.closing.cuts)
        await self._driver.closing.lift(meant)
        return tuple(told for told in before if told.name == str(meant))

    def _told(self, cut: Cut, *, asked_for: bool) -> RevocationStatus:
        revocation = cut.revocation
        concerned = tuple(self._concerned(revocation))
        missing = tuple(f"{node}: {why}" for node in concerned if (why := self._lacks(node)))
        return RevocationStatus(
            name=str(revocation.name),
            identity=revocation.identity,
            to=str(revocation.to or ""),
            root=revocation.root,
            reason=revocation.reason,
            since=cut.since.isoformat(),
            asked_for=asked_for,
            proxies=len(concerned),
            missing=missing,
        )

    def _concerned(self, revocation: Revocation) -> Iterator[str]:
        """The proxies of everyone that would let the one in who is cut off."""
        effective = self._driver.serving()
        for node in effective.nodes() if effective is not None else ():
            assert effective is not None
            if revocation.identity in effective.mesh_for(node).access[node.service].revoked:
                yield node.id

    def _lacks(self, node_id: str) -> str:
        """Why a proxy does not show what it was assigned; empty where it has acknowledged it."""
        proxy = self._xds.proxy(node_id)
        if not proxy.connected:
            return "not connected; it gets this before anything else when it returns"
        if proxy.refusal is not None:
            return f"it refused: {proxy.refusal.error_detail}"
        return "" if proxy.converged else "it has not acknowledged this yet"


def _revocation(order: Order, promoted: Mesh) -> Revocation:
    domain = promoted.settings.trust_domain
    identity = caller_identity(domain, _read(units.caller, order.identity), DEFAULT_NAMESPACE)
    caller = parse_spiffe_id(domain, identity)
    to = Name.parse(_read(units.reference, order.to)) if order.to else None
    for service, may_be_gone in ((caller, "://" in order.identity), (to, False)):
        if service is not None and service not in promoted.services and not may_be_gone:
            raise UsageError(
                f"there is no service `{service}`", hint="one that is gone is cut off by its whole SPIFFE ID"
            )
    name = order.name or str(_name(caller, to))
    return Revocation(Name.parse(_read(units.reference, name)), order.reason.strip(), identity, to)


def _name(caller: Name | None, to: Name | None) -> Name:
    """What a revocation is called where nobody says so: in the namespace of the service that it closes."""
    words = ("revoked", caller.name if caller is not None else "stranger", *(("from", to.name) if to else ()))
    home = to or caller
    return Name(home.namespace if home is not None else DEFAULT_NAMESPACE, "-".join(words)[:63].rstrip("-"))


def _read(reader: Callable[[object], T], text: str) -> T:
    try:
        return reader(text)
    except PydanticCustomError as error:
        context = error.context or {}
        raise UsageError(context["message"], hint=context["hint"]) from error
