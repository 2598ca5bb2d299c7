"""How many requests an instance of a service takes in a time: a token bucket, filled steadily."""

from __future__ import annotations

from dataclasses import dataclass

from policyd.model.access import ANY_METHOD
from policyd.model.paths import PathPattern


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`requests` in `per_ms`, at most `burst` at once; for everybody together, or for each caller's identity.

    It holds for requests with one of `methods` (`*`: any) to one of `paths` (none: every path).
    """

    requests: int
    per_ms: int
    burst: int
    each_caller: bool = False
    methods: tuple[str, ...] = (ANY_METHOD,)
    paths: tuple[PathPattern, ...] = ()

    @property
    def token_ms(self) -> float:
        """How long it takes until one more request fits, once the bucket is empty."""
        return self.per_ms / self.requests
