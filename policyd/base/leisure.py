"""Long work beside an event loop: a thread that pauses often, so that the loop waits a step and never for the whole.

The interpreter lets one thread run at a time, and a thread that computes gives way only when another one has asked
for 5 ms. One that sleeps gives way at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PAUSE_S = 0.001


def at_leisure(items: Iterable[T]) -> Iterator[T]:
    """The items, with a pause before each. Only for threads that nobody waits for."""
    for item in items:
        time.sleep(PAUSE_S)
        yield item


def leisurely(call: Callable[P, T]) -> Callable[P, T]:
    """`call` with a pause before it."""

    def slower(*args: P.args, **kwargs: P.kwargs) -> T:
        time.sleep(PAUSE_S)
        return call(*args, **kwargs)

    return slower
