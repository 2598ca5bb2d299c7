"""The bundle of the mesh that is promoted now, minus the floor: packed when somebody asks and it is another one.

Stands behind `api.control.Bundles`; decision servers and OPAs follow it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from policyd.base.clock import Clock
from policyd.base.errors import Retry
from policyd.daemon.deciding import Promoted
from policyd.daemon.serials import Serials
from policyd.decisions.bundle import Packed, pack, provenance_document
from policyd.decisions.document import document
from policyd.decisions.signature import Signer, canonical
from policyd.guardrails.bundle import shipped_folder
from policyd.model.mesh import Mesh
from policyd.model.revocation import Revocation
from policyd.plan.floor import Floor, last_expiry, subtracted

LOOK_S = 0.1
"""Between two looks for another mesh while somebody waits for one."""
_Key = tuple[Mesh, str, object, datetime | None, datetime | None, tuple[Revocation, ...]]


class Publisher:
    """`Bundles` over whatever `promoted` returns."""

    def __init__(
        self,
        promoted: Callable[[], Promoted | None],
        clock: Clock,
        signer: Signer,
        rules: Mapping[str, bytes],
        serials: Serials,
    ) -> None:
        self._promoted = promoted
        self._clock = clock
        self._signer = signer
        self._rules = rules
        self._serials = serials
        self._packing = asyncio.Lock()
        self._packed: tuple[_Key, Packed] | None = None
        self._closed = False

    async def bundle(self, known: str, wait_s: float) -> Packed:
        """The bundle; where its ETag is `known`, the next one, for which `wait_s` seconds are waited at most.

        Raises `Retry` while nothing is promoted.
        """
        ends = self._clock.monotonic() + wait_s
        while True:
            key, packed = await self._current()
            if packed.etag != known:
                return packed
            while _equal(self._key()[0], key):
                if self._closed or self._clock.monotonic() >= ends:
                    return packed
                await self._clock.sleep(LOOK_S)

    def close(self) -> None:
        """The controller ends: nobody is kept waiting any more."""
        self._closed = True

    async def _current(self) -> tuple[_Key, Packed]:
        async with self._packing:
            key, now, at = self._key()
            if self._packed is None or not _equal(self._packed[0], key):
                self._packed = (key, await asyncio.to_thread(self._pack, now, at))
            return self._packed

    def _pack(self, now: Promoted, at: datetime) -> Packed:
        mesh = document(subtracted(now.mesh, Floor(at, now.cuts)), now.floor)
        provenance = provenance_document(now.commit, now.provenance)
        serial = self._serials.of(hashlib.sha256(canonical([mesh, provenance])).hexdigest())
        return pack(mesh, provenance, self._rules, self._signer, serial=serial)

    def _key(self) -> tuple[_Key, Promoted, datetime]:
        """What the bundle is made of, and for which instant."""
        now = self._promoted()
        if now is None:
            raise Retry("no mesh has been promoted yet", after=1.0)
        at = self._clock.now() if now.floor is None else max(self._clock.now(), now.floor)
        return (now.mesh, now.commit, now.provenance, now.floor, last_expiry(now.mesh, at), now.cuts), now, at


def _equal(one: _Key, other: _Key) -> bool:
    """Whether nothing has changed. Large values are compared by identity: they never change after they were made."""
    return one[0] is other[0] and one[2] is other[2] and (one[1], *one[3:]) == (other[1], *other[3:])


def reference_rules(folder: Path | None = None) -> dict[str, bytes]:
    """The reference semantics in Rego, by path in the bundle, without their tests."""
    root = shipped_folder(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.glob("policyd/authz/**/*.rego"))
        if not path.name.endswith("_test.rego")
    }
