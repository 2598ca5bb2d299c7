"""Compiles a bundle for the workers, in the parent: one piece for each destination, and only those that changed.

A worker that compiled for itself would keep its clients waiting meanwhile; a piece is only loaded there.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from policyd.decider.pieces import cut
from policyd.decider.wire import Update
from policyd.decisions import Index
from policyd.decisions.bundle import Unpacked
from policyd.decisions.document import DocumentError, floor_of, mesh_of
from policyd.decisions.signature import canonical

_PROTOCOL = 5


@dataclass(slots=True)
class _Known:
    digest: bytes
    piece: tuple[bytes, ...]


@dataclass(slots=True)
class Builder:
    """Remembers what was built, so that equal destinations are neither built nor sent again."""

    remembered: int = 0
    """The number of the newest bundle that an earlier run served."""
    _known: dict[str, _Known] = field(default_factory=dict)
    _domain: str = ""
    _frame: bytes = b""
    _revision: str = ""
    _floor: datetime | None = None
    _serial: int = 0

    def build(self, bundle: Unpacked) -> Update:
        """What has to be sent to workers that have the bundle before. Raises `DocumentError`, and changes nothing.

        An older bundle that is served again is refused: it could open what has been closed since. Nor does the floor
        ever go down.
        """
        if bundle.serial < self._serial:
            raise DocumentError(f"bundle {bundle.serial} is older than {self._serial}, which is in force")
        if bundle.serial < self.remembered and not self._frame:
            words = f"bundle {bundle.serial} is older than {self.remembered}, which was in force before the restart"
            raise DocumentError(f"{words}: only `policyd decide --accept-older` takes it")
        said = bundle.mesh
        places = _places(bundle.provenance)
        domain = str(said.get("trust_domain", ""))
        known = self._known if domain == self._domain else {}
        services = said.get("services", {})
        digests = {name: _digest(service, places) for name, service in services.items()}
        wanted = [name for name, digest in digests.items() if name not in known or known[name].digest != digest]
        mesh = mesh_of(said, wanted)
        floor = max(filter(None, (floor_of(said), self._floor)), default=None)
        index = Index.build(mesh)
        changed = {
            str(name): cut((destination, _own(services[str(name)], places)))
            for name, destination in index.destinations.items()
        }
        gone = tuple(name for name in self._known if name not in digests)
        frame = pickle.dumps((replace(index, destinations={}), bundle.revision, floor), _PROTOCOL)
        self._known = {
            name: _Known(digest, changed[name]) if name in changed else known[name]
            for name, digest in digests.items()
        }
        self._domain, self._frame, self._revision, self._floor = domain, frame, bundle.revision, floor
        self._serial = bundle.serial
        return Update(bundle.revision, frame, changed, gone)

    def whole(self) -> Update | None:
        """What has to be sent to a worker that has nothing; `None` before the first bundle."""
        if not self._frame:
            return None
        return Update(self._revision, self._frame, {name: known.piece for name, known in self._known.items()})


def _places(provenance: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
    try:
        rules = provenance["AccessRule"]
        return {rule: (str(said["place"]), str(said["owner"])) for rule, said in rules.items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise DocumentError(f"the provenance is malformed: {error!r}") from error


def _own(service: Mapping[str, Any], places: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The places of a destination's own rules."""
    names = (rule["name"] for rule in service["rules"])
    return {name: places[name] for name in names if name in places}


def _digest(service: Any, places: Mapping[str, tuple[str, str]]) -> bytes:
    try:
        said = canonical([service, [places.get(rule["name"]) for rule in service["rules"]]])
    except (TypeError, KeyError) as error:
        raise DocumentError(f"a service is malformed: {error!r}") from error
    return hashlib.blake2b(said, digest_size=16).digest()
