"""Where calls to a service go on while it is down.

What a service lists is the whole way: a fallback's own list is not followed. Naming another service opens nothing;
`policyd.model.standby` says whom a fallback is for.
"""

from __future__ import annotations

from dataclasses import dataclass

from policyd.model.names import Name

OTHER_ZONES = "other"
"""The zone of a fallback that means every zone but the caller's own."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """One place to go on at, by the one field that is set.

    `version`: another version of the same service. `service`: another service, at the version that serves there.
    `zone`: the instances in that zone, which get no calls before; `OTHER_ZONES`, those outside of the caller's zone.
    """

    version: str = ""
    service: Name | None = None
    zone: str = ""
