"""What counts as the same content for a quarantine and for known-good: the value without its versions' instances.

Which versions have instances, and where, is runtime. An instance that moved makes a bad version no better and a good
one no worse, so neither a quarantine nor a known-good content may depend on addresses.
"""

from __future__ import annotations

from dataclasses import replace

from policyd.base.content import digest
from policyd.model.service import Service
from policyd.plan.change import Change, Value


def content_digest(value: Value) -> str:
    """The name of a unit's value by content, wherever its instances are."""
    return digest(replace(value, versions=()) if isinstance(value, Service) else value)


def content_id(change: Change) -> str:
    """Names a change for its quarantine: what, from which content, to which content."""
    return f"{change.unit.value}:{change.name}@{content_digest(change.base)}..{content_digest(change.target)}"
