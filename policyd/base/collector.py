"""How often Python looks for garbage cycles: set once by whoever owns the process, never at import.

A commit of a large mesh makes a few hundred thousand small values that all stay alive. With the interpreter's own
thresholds a third of a cold compilation goes to walking them again and again for cycles that are not there.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 100_000, 50, 100
"""Allocations before the youngest generation is walked, and walks of each generation before the next older one."""


def collect_seldom() -> None:
    """Let this process collect garbage seldom. Reference counting frees almost everything here at once anyway."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def collect_for_months() -> None:
    """The same for a process that lives on: what cycles it leaves is walked for fifty times as often.

    A controller under load holds about 12 MB of them otherwise before it looks. A cold compilation pays for one walk
    of the whole heap at the most.
    """
    gc.set_threshold(YOUNG, MIDDLE // 5, OLD // 10)
