"""What decides, behind one small protocol, and how answers are compared.

mesh, requests, instant  ->  Engine.answers  ->  Answers  ->  disagreements
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from policyd.decisions import Index
from policyd.model.mesh import Mesh
from tests.conformance.sent import Sent
from tests.conformance.smaller import smaller


class Answer(NamedTuple):
    """What an engine says. A proxy says its status, and no more: `None` is what an engine does not say."""

    status: int
    rule: str | None = None
    reason: str | None = None
    would: str | None = None

    def contradicts(self, other: Answer) -> bool:
        """Whether the two differ in something that both say."""
        return any(mine != theirs for mine, theirs in zip(self, other, strict=True) if None not in (mine, theirs))


class Engine(Protocol):
    """Something that decides. `name` is what a disagreement calls it."""

    name: str

    def answers(self, mesh: Mesh, sent: Sequence[Sent], at: datetime) -> list[Answer]:
        """The decisions about requests to one mesh at the instant `at`, in order."""
        ...


class IndexEngine:
    """The index of the decision server."""

    name = "index"

    def answers(self, mesh: Mesh, sent: Sequence[Sent], at: datetime) -> list[Answer]:
        """See `Engine.answers`."""
        index = Index.build(mesh)
        return [self._answer(index, each, at) for each in sent]

    @staticmethod
    def _answer(index: Index, sent: Sent, at: datetime) -> Answer:
        decision = index.decide(sent.request, at)
        rule = "" if decision.rule is None else str(decision.rule)
        return Answer(decision.status, rule, str(decision.cause), str(decision.would or ""))


@dataclass(frozen=True)
class Disagreement:
    """One request that engines decide differently, in a mesh as small as it could be made."""

    mesh: Mesh
    sent: Sent
    at: datetime
    answers: Mapping[str, Answer]

    def __str__(self) -> str:
        access = self.mesh.access.get(self.sent.destination)
        service = self.mesh.services.get(self.sent.destination)
        lines = [f"engines disagree about {self.sent.destination} at {self.at.isoformat()}"]
        lines += [f"  {name:>8}: {answer}" for name, answer in self.answers.items()]
        lines += [f"  request: {self.sent!r}"]
        if service is not None and access is not None:
            lines += [
                f"  service: port {service.port}, opaque paths: {service.opaque_paths}, revoked: {access.revoked}"
            ]
            lines += [f"  rule: {rule!r}" for rule in access.rules]
        return "\n".join(lines)


class DisagreementError(AssertionError):
    """Engines disagree; the message is a case that shows it."""


def compare(engines: Sequence[Engine], mesh: Mesh, sent: Sequence[Sent], at: datetime) -> list[Answer]:
    """What the first engine answers, if none of the others contradicts it. Raises `DisagreementError`."""
    columns = {engine.name: engine.answers(mesh, sent, at) for engine in engines}
    for number, each in enumerate(sent):
        if _contradictory([column[number] for column in columns.values()]):
            small, one = smaller(mesh, each, lambda m, s: _contradictory(_ask(engines, m, s, at)))
            answers = dict(zip(columns, _ask(engines, small, one, at), strict=True))
            raise DisagreementError(str(Disagreement(small, one, at, answers)))
    return next(iter(columns.values()))


def _ask(engines: Sequence[Engine], mesh: Mesh, sent: Sent, at: datetime) -> list[Answer]:
    return [engine.answers(mesh, [sent], at)[0] for engine in engines]


def _contradictory(answers: Sequence[Answer]) -> bool:
    return any(answers[0].contradicts(other) for other in answers[1:])
