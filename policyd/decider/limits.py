"""What one client may cost: sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one worker's HTTP edge. A question is some hundred bytes; these leave room for tokens and batches."""

    head: int = 32 * 1024
    """Request line and headers."""
    body: int = 1024 * 1024
    slice: int = 8 * 1024
    """How much of one client's input is taken before the others have their turn."""
    unsent: int = 256 * 1024
    """Answers that wait for a client to read them; nothing more is read from it meanwhile."""
    connections: int = 4096
    request_s: float = 10.0
    """From the first byte of a request to its last."""
    idle_s: float = 75.0
    """Between two requests."""
    unread_s: float = 10.0
    """How long a client may leave answers unread."""
    discard_s: float = 2.0
    """How long what a refused client still sends is read, so that it can see the refusal."""
    drain_s: float = 1.0
    """At the end, how long clients that keep a connection may still send their next request."""
    batch: int = 1000
    """Inputs of one batch."""


DEFAULT = Limits()
