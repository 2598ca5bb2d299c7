"""Answers access questions for the mesh that is promoted now, with the place in Git that said so.

Stands behind `api.control.Decisions`. The index is built anew when another mesh was promoted; a question reads it
once, so that an answer and its commit agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from policyd.api.control import Answer, Question
from policyd.base.clock import Clock
from policyd.base.errors import Retry
from policyd.decisions import Index, Request
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is promoted, and where Git says it."""

    mesh: Mesh
    commit: str
    provenance: Mapping[Key, Provenance]
    floor: datetime | None = None
    """The last instant at which a rule was taken as expired: one that a clock set back does not undo."""


class PromotedDecisions:
    """`Decisions` over whatever `promoted` returns at the moment of a question."""

    def __init__(self, promoted: Callable[[], Promoted | None], clock: Clock) -> None:
        self._promoted = promoted
        self._clock = clock
        self._built: tuple[Mesh, Index] | None = None

    def decide(self, question: Question) -> Answer:
        """The answer. Raises `Retry` while nothing is promoted."""
        now = self._promoted()
        if now is None:
            raise Retry("no mesh has been promoted yet", after=1.0)
        if self._built is None or self._built[0] is not now.mesh:
            self._built = (now.mesh, Index.build(now.mesh))
        request = Request(
            source=question.source,
            destination=Name.parse(question.service),
            method=question.method,
            path=question.path,
            host=question.host,
        )
        at = self._clock.now() if now.floor is None else max(self._clock.now(), now.floor)
        decision = self._built[1].decide(request, at)
        said = now.provenance.get(Key("AccessRule", decision.rule)) if decision.rule is not None else None
        return Answer(
            allow=decision.allow,
            outcome=str(decision.outcome),
            rule=str(decision.rule or ""),
            reasons=tuple(str(reason) for reason in decision.reasons),
            place=str(said.location) if said is not None else "",
            owner=said.owner if said is not None else "",
            commit=now.commit,
        )
