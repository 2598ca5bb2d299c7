"""What judges: the protocol of the policy engines. `opa` and `embedded` implement it and give equal answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from policyd.guardrails.bundle import Bundle

Json = Mapping[str, Any]
"""A plain JSON object."""

AGAIN_S = 5.0
"""How long to wait before an engine that failed is asked again, in seconds."""


class Engine(Protocol):
    """A policy engine. `name` and `version` say who judged; `policyd status` shows them."""

    @property
    def name(self) -> str:
        """`opa` or `embedded`."""
        ...

    @property
    def version(self) -> str:
        """The engine's own version; empty until it has answered once."""
        ...

    async def evaluate(self, bundle: Bundle, document: Json) -> Json:
        """What every root of the bundle says about `document`: package trees by root.

        Raises `Retry` where the engine did not answer in time, and `Stalled` where it refused the rules or one of
        them failed: either way nothing is known about the commit, so it is neither taken nor dropped.
        """
        ...

    async def close(self) -> None:
        """End what the engine started. It can be used again afterwards."""
        ...
