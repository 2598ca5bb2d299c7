"""What happened, as values: for `releases watch`, the event stream of the API, and the demo's screen."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class Kind(enum.StrEnum):
    """What an event is about."""

    SERVED = "served"
    """The first head of a mesh is live."""
    STARTED = "started"
    STAGE = "stage"
    """A release entered a stage."""
    VERDICT = "verdict"
    """A tick's decision with its evidence."""
    PROMOTED = "promoted"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    BLOCKED = "blocked"
    COMMAND = "command"
    REFUSED = "refused"
    """A proxy refused a configuration."""
    RUNTIME = "runtime"
    """Endpoints, secrets or an expiry changed what nodes run, without a release."""
    REVOKED = "revoked"
    """Somebody is cut off, whatever rules and releases say."""
    LIFTED = "lifted"
    STALLED = "stalled"
    """A person is needed."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `text` is for people, `data` for programs; `release` is empty for the mesh itself."""

    at: datetime
    kind: Kind
    release: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


class EventLog:
    """The last events, and a live feed of new ones for any number of followers."""

    def __init__(self, keep: int = 1_000) -> None:
        self._events: deque[Event] = deque(maxlen=keep)
        self._followers: set[asyncio.Queue[Event | None]] = set()
        self._queue_size = keep
        self._closed = False

    def add(self, event: Event) -> None:
        """Keep the event and hand it to every follower; one that fell `keep` behind loses its oldest."""
        self._events.append(event)
        self._tell(event)

    def close(self) -> None:
        """Let every follower come to the end of the feed: nothing more happens here."""
        self._closed = True
        self._tell(None)
        self._followers.clear()

    def recent(self) -> tuple[Event, ...]:
        """What is remembered, oldest first."""
        return tuple(self._events)

    async def follow(self) -> AsyncGenerator[Event, None]:
        """Every event from now on, until the log is closed or the caller stops asking."""
        if self._closed:
            return
        queue: asyncio.Queue[Event | None] = asyncio.Queue(self._queue_size)
        self._followers.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._followers.discard(queue)

    def _tell(self, event: Event | None) -> None:
        for queue in self._followers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)
