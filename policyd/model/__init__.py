"""The mesh as values: what lowering makes of intents, and all that plan, decisions and compilers see.

Frozen, slotted dataclasses; typed, resolved and free of file syntax. Durations are whole milliseconds
(`_ms`) or seconds (`_s`), shares are basis points (`10_000` = everything), instants are UTC.
"""
