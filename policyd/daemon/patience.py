"""How long the controller tries again: until there is an answer, or until the question is out of date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError, Retry

_PATIENCE_S = 30.0


def patience_s(error: PolicydError) -> float:
    """Seconds until a next try is worth it; where a person is needed, until that person may have been there."""
    return error.after if isinstance(error, Retry) else _PATIENCE_S


async def until_known(
    consider: Callable[[], Awaitable[None]],
    *,
    overtaken: Callable[[], Awaitable[bool]],
    trouble: Callable[[PolicydError], None],
    clock: Clock,
) -> bool:
    """Ask about one commit until there is an answer; False where it was given up for a newer one.

    An engine without an answer leaves a commit neither taken nor refused. What keeps the engine from answering may
    be the commit itself (a rule that loops), so that the commit which mends it must get its turn.
    """
    while True:
        try:
            await consider()
        except PolicydError as error:
            trouble(error)
            await clock.sleep(patience_s(error))
            if await overtaken():
                return False
        else:
            return True
