"""Cuts off by a person's order, and proves it: which proxies hold a revocation, and which do not yet.

Stands behind `api.revocations.Revoking`. The proof is read from the ledger of acknowledgements, never from what was
sent, and from the proxies themselves: a connection that was open is refused every request at once, and ended when the
proxy has drained it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from policyd.api.revocations import Order, RevocationStatus
from policyd.base.clock import Clock
from policyd.base.errors import Retry, UsageError
from policyd.daemon.orders import revocation_of
from policyd.daemon.wallet import Wallet
from policyd.delivery.xds.server import XdsServer
from policyd.model.names import Name
from policyd.model.revocation import Revocation
from policyd.rollout.driver import Driver
from policyd.rollout.store import Cut
from policyd.telemetry.running import RunningEnvoys

PATIENCE_S = 10.0
"""How long an order waits for connections to end: twice as long as proxies drain."""
LOOK_S = 0.1


class MeshRevoking:
    """The floor of one controller."""

    def __init__(self, driver: Driver, wallet: Wallet, xds: XdsServer, envoys: RunningEnvoys, clock: Clock) -> None:
        self._driver = driver
        self._wallet = wallet
        self._xds = xds
        self._envoys = envoys
        self._clock = clock

    def all(self) -> tuple[RevocationStatus, ...]:
        """Every revocation that holds, with its proof."""
        return tuple(self._told(cut, asked_for=asked_for) for cut, asked_for in self._driver.closing.cuts)

    async def revoke(self, order: Order) -> RevocationStatus:
        """Cut off at once. Raises `UsageError` for an order that means nobody, `Retry` before there is a mesh."""
        promoted = self._driver.promoted
        if promoted is None:
            if self._driver.lost:
                raise UsageError("the store was lost, so nothing can be sent", hint="`policyd recover`, then again")
            raise Retry("no mesh has been promoted yet, so nobody is let in", after=1.0)
        held = tuple(cut.revocation for cut, _ in self._driver.closing.cuts)
        revocation, began = revocation_of(order, promoted, held), self._clock.monotonic()
        await self._driver.closing.revoke(revocation)
        same = replace(revocation, reason="")
        drained = await self._drained([node for node in self._concerned(revocation) if not self._lacks(node)])
        for cut, asked_for in self._driver.closing.cuts:
            if replace(cut.revocation, reason="") == same:
                return replace(self._told(cut, asked_for=asked_for), cut_after_s=drained - began if drained else None)
        raise UsageError(
            f"revocation `{revocation.name}` was lifted meanwhile", hint="order it again if that is wrong"
        )

    async def lift(self, name: str) -> tuple[RevocationStatus, ...]:
        """End what is called so. Raises what `Closing.lift` raises."""
        meant = Name.parse(name)
        before = [(cut.revocation, self._told(cut, asked_for=False)) for cut, _ in self._driver.closing.cuts]
        lifted = await self._driver.closing.lift(meant)
        return tuple(told for revocation, told in before if revocation in lifted)

    async def _drained(self, nodes: Sequence[str]) -> float | None:
        """When the last of these proxies had ended what was open; `None` where `PATIENCE_S` do not show it."""
        end = self._clock.monotonic() + PATIENCE_S
        while self._clock.monotonic() < end:
            draining = await self._envoys.draining(nodes)
            now = self._clock.monotonic()
            if len(draining) == len(nodes) and not any(draining.values()):
                return now
            await self._clock.sleep(LOOK_S)
        return None

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
            note=self._note(revocation),
        )

    def _note(self, revocation: Revocation) -> str:
        if not revocation.root or revocation.root in self._wallet.dropped:
            return self._wallet.unwritten if revocation.root else ""
        return no_such_root(self._wallet.trusted)

    def _concerned(self, revocation: Revocation) -> Iterator[str]:
        """The proxies of everyone that would let the one in who is cut off; all, where it is a root of theirs."""
        effective = self._driver.serving()
        for node in effective.nodes() if effective is not None else ():
            assert effective is not None
            mesh = effective.mesh_for(node)
            if (
                revocation.identity in mesh.access[node.service].revoked
                or revocation.root in mesh.settings.distrusted
            ):
                yield node.id

    def _lacks(self, node_id: str) -> str:
        """Why a proxy does not show what it was assigned; empty where it has acknowledged it."""
        proxy = self._xds.proxy(node_id)
        if not proxy.connected:
            return "not connected; it gets this before anything else when it returns"
        if proxy.refusal is not None:
            return f"it refused: {proxy.refusal.error_detail}"
        return "" if proxy.converged else "it has not acknowledged this yet"


def no_such_root(trusted: Sequence[str]) -> str:
    """What is said of a distrusted root that proxies were never given; `trusted` are those that they have."""
    known = ", ".join(f"`{root}`" for root in trusted) or "not known"
    return (
        f"no root of this mesh has this fingerprint: it cuts nothing, and is refused if it comes (there are: {known})"
    )
