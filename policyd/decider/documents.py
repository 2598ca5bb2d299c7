"""The documents that are answered, by path: a table, so that no segment of a path ever becomes part of a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from policyd.decider.asked import request_from
from policyd.decider.loaded import Loaded, refused

Document = Callable[[Loaded, Any, datetime], object]
"""The value of a document for one input, at one instant."""
PARTS = ("allow", "outcome", "rule", "status", "reason", "would", "reasons", "place", "owner", "commit")


def _allow(loaded: Loaded, asked: Any, now: datetime) -> object:
    request = request_from(asked)
    return not isinstance(request, str) and loaded.allows(request, loaded.instant(now))


def _authz(loaded: Loaded, asked: Any, now: datetime) -> dict[str, object]:
    request = request_from(asked)
    if isinstance(request, str):
        return refused(request, loaded.revision)
    return loaded.explain(request, loaded.instant(now))


def _part(name: str) -> Document:
    return lambda loaded, asked, now: _authz(loaded, asked, now)[name]


DOCUMENTS: Mapping[str, Document] = {
    "": lambda *asked: {"policyd": {"authz": _authz(*asked)}},
    "policyd": lambda *asked: {"authz": _authz(*asked)},
    "policyd/authz": _authz,
    **{f"policyd/authz/{name}": _part(name) for name in PARTS},
    "policyd/authz/allow": _allow,
}
"""By path without the slashes around it."""


def utc_now() -> datetime:
    """The instant of a decision."""
    return datetime.now(UTC)
