"""The documents that are answered, by path; the one that is asked for most by a way of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from policyd.api.documents import documents
from policyd.decider.asked import request_from
from policyd.decider.loaded import Loaded, refused

Document = Callable[[Loaded, Any, datetime], object]
"""The value of a document for one input, at one instant."""


def _allow(loaded: Loaded, asked: Any, now: datetime) -> object:
    request = request_from(asked)
    return not isinstance(request, str) and loaded.allows(request, loaded.instant(now))


def _authz(loaded: Loaded, asked: Any, now: datetime) -> dict[str, object]:
    request = request_from(asked)
    if isinstance(request, str):
        return refused(request, loaded.revision)
    return loaded.explain(request, loaded.instant(now))


DOCUMENTS: Mapping[str, Document] = {**documents(_authz), "policyd/authz/allow": _allow}
"""By path without the slashes around it."""


def utc_now() -> datetime:
    """The instant of a decision."""
    return datetime.now(UTC)
