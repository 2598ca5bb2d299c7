"""Lengths of time as messages say them."""

from __future__ import annotations


def spoken(milliseconds: int) -> str:
    """`600 ms`, `2 s`, `1.5 s`: seconds from one second up."""
    return f"{milliseconds / 1_000:g} s" if milliseconds >= 1_000 else f"{milliseconds} ms"
