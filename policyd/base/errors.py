"""Exceptions are for operations, never for bad input (that is a `Finding`). Their class says what to do.

    PolicydError
    ├── Retry          try the same again after `after` seconds; nothing is lost meanwhile
    ├── Stalled        a person is needed; the live mesh stays as it is
    └── UsageError     the command line or the settings ask for something impossible

Anything else that is raised is a bug and is allowed to crash.
"""

from __future__ import annotations


class PolicydError(Exception):
    """Base of every error that policyd raises on purpose. `hint` says what a person can do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Retry(PolicydError):
    """The world did not answer now; the same operation may succeed after `after` seconds."""

    def __init__(self, message: str, *, after: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after = after


class Stalled(PolicydError):
    """Trying again will not help: a person has to change something."""


class UsageError(PolicydError):
    """What was asked for on the command line or in the settings cannot be done as written."""
