"""`spec.failover` of a service: where calls to it go on while it is down."""

from __future__ import annotations

from pydantic import model_validator

from policyd.intents.kind import Part
from policyd.intents.units import Label, Reference, unreadable


class Fallback(Part):
    """One place to go on at: another version, another service, or another zone."""

    version: Label | None = None
    """Another version of the same service."""
    service: Reference | None = None
    """Another service, `payments-backup` or `namespace/payments-backup`. Callers need a rule of their own to it."""
    zone: Label | None = None
    """The instances in this zone, which get no calls before; `other`: those outside of the caller's own zone."""

    @model_validator(mode="after")
    def _names_one_place(self) -> Fallback:
        named = [name for name in ("version", "service", "zone") if getattr(self, name) is not None]
        if len(named) > 1:
            raise unreadable(
                f"a fallback is one place, and this names {' and '.join(f'`{name}`' for name in named)}",
                hint="write two, in the order in which they are tried: `[{version: v1}, {service: standby}]`",
                code="PD1111",
            )
        if not named:
            raise unreadable(
                "a fallback without fields leads nowhere",
                hint="name a `version`, a `service` or a `zone`",
                code="PD1104",
            )
        return self
