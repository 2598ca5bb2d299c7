"""Where a value came from. Rides beside values, never inside them: else every commit would change every rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from policyd.base.diagnostics import Location
from policyd.model.names import Name


class Key(NamedTuple):
    """A value of the model by intent kind and name, for example `("AccessRule", Name("default", "web"))`."""

    kind: str
    name: Name


@dataclass(frozen=True, slots=True)
class Provenance:
    """The place in Git that said it, and who answers for it."""

    location: Location
    owner: str = ""
