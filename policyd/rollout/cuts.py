"""Who is cut off: every revocation that Git or a person has ever asked for, until a person lifts it.

    head of Git, `policyd revoke` -> cuts -> floor -> everything that is served

Held at once, written as soon as that can be done. A commit that no longer names a revocation does not end it: a
revert, or a branch that is rewritten, would open again what somebody closed in a hurry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import structlog

from policyd.base.content import digest
from policyd.base.errors import PolicydError, UsageError
from policyd.model.names import Name
from policyd.model.revocation import Revocation
from policyd.rollout.store import Cut, Store

_LOG = structlog.get_logger("rollout")


class Cuts:
    """The revocations that hold, by what they cut: the reason is no part of it."""

    def __init__(self, store: Store, known: Iterable[Cut]) -> None:
        self._store = store
        self._held = {_key(cut.revocation): cut for cut in known}
        self._unsaved: set[str] = set()
        self._asked: frozenset[str] = frozenset()

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """All that holds, in order of name, then of content: what the floor is made of."""
        return tuple(cut.revocation for cut in self.all())

    def all(self) -> tuple[Cut, ...]:
        """The same, with the instants since when."""
        keys = sorted(self._held, key=lambda key: (self._held[key].revocation.name, key))
        return tuple(self._held[key] for key in keys)

    def asked_for(self, cut: Cut) -> bool:
        """Whether the head of Git still says so."""
        return _key(cut.revocation) in self._asked

    def follow(self, head: Iterable[Revocation], at: datetime) -> tuple[Revocation, ...]:
        """Take what the head of Git asks for; returns what did not hold before."""
        asked = tuple(head)
        self._asked = frozenset(map(_key, asked))
        return self.take(asked, at)

    def take(self, asked: Iterable[Revocation], at: datetime) -> tuple[Revocation, ...]:
        """Hold these from now on, whether they can be written or not; returns those that did not hold before."""
        fresh = []
        for revocation in asked:
            key = _key(revocation)
            known = self._held.get(key)
            if known is None:
                fresh.append(revocation)
            if known is None or known.revocation != revocation:
                self._held[key] = Cut(revocation, at if known is None else known.since)
                self._unsaved.add(key)
        try:
            self.write_what_is_left()
        except PolicydError as error:
            _LOG.error("revocation not written", names=[str(one.name) for one in fresh], error=str(error))
        return tuple(fresh)

    def write_what_is_left(self) -> None:
        """Write what could not be written. Raises where it still cannot be done."""
        if self._unsaved:
            self._store.cut({key: self._held[key] for key in sorted(self._unsaved)})
            self._unsaved.clear()

    def lift(self, name: Name) -> tuple[Revocation, ...]:
        """End all that is called so and that Git does not ask for: one that it did before may have the same name.

        Raises `UsageError` where there is none but what Git asks for, `Stalled` where it is unwritten.
        """
        meant = {key: cut.revocation for key, cut in self._held.items() if cut.revocation.name == name}
        if not meant:
            known = ", ".join(f"`{one.name}`" for one in self.revocations)
            raise UsageError(f"no revocation is called `{name}`", hint=f"there are: {known or 'none'}")
        meant = {key: cut for key, cut in meant.items() if key not in self._asked}
        if not meant:
            raise UsageError(f"Git asks for revocation `{name}`", hint="take it out of the repository first")
        self._store.lift(meant)
        for key in meant:
            del self._held[key]
        self._unsaved -= meant.keys()
        return tuple(meant.values())


def _key(revocation: Revocation) -> str:
    return digest(replace(revocation, reason=""))
