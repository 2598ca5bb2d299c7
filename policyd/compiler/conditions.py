"""What a rule asks for besides callers, methods and paths: every compiler says which of these its proxy can judge.

The conditions are found by walking the fields of the rule, so that one that comes to the model later is asked for
here, and refused by every compiler that has not learnt it: a rule that is not understood whole allows nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import cache

from policyd.model.access import Permit, Rule, Source

ADDRESS = "sources.ip_blocks"
PORT = "permits.ports"
EXPIRY = "expires"
TOKEN = "token"  # noqa: S105
WORDS = {
    ADDRESS: "the caller's address (`ipBlock`)",
    PORT: "the port (`ports`)",
    EXPIRY: "the time (`expires`)",
    TOKEN: "a token (`jwt`)",
}
"""How a person calls them."""
_PLAIN = frozenset(
    {
        *(f"sources.{name}" for name in ("services", "namespaces", "identities", "anyone")),
        *(f"permits.{name}" for name in ("methods", "paths")),
    }
)
"""What every proxy that is a target at all can judge."""
_NO_CONDITION = frozenset({"name", "sources", "permits", "mode", "replaces"})
_ALWAYS = object()


def conditions(rule: Rule) -> frozenset[str]:
    """The conditions that the rule has, by the names of the model's fields."""
    found = {name for name in _asked(rule) if name not in _NO_CONDITION}
    found |= _within("sources", rule.sources)
    found |= _within("permits", rule.permits)
    return frozenset(found - _PLAIN)


def _within(where: str, parts: Iterable[Source | Permit]) -> set[str]:
    return {f"{where}.{name}" for part in parts for name in _asked(part)}


def _asked(value: Rule | Source | Permit) -> Iterator[str]:
    """The fields that say something."""
    kind: type = type(value)
    return (name for name, unless in _fields(kind) if getattr(value, name) != unless)


@cache
def _fields(kind: type) -> tuple[tuple[str, object], ...]:
    """Each field with the value at which it says nothing; nothing equals `_ALWAYS`."""
    return tuple(
        (field.name, _ALWAYS if field.default is dataclasses.MISSING else field.default)
        for field in dataclasses.fields(kind)
    )
