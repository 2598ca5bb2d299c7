"""What gets lost in compilation, as findings: asked of compilers before anything is compiled.

    mesh + compilers of its data planes -> losses -> findings at their intents, warnings where accepted by name

Every check of a tree and the controller's own (`daemon.admission`) ask here, so that both answer alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from policyd.base.diagnostics import Finding, Location, in_order
from policyd.compiler.artifact import Loss
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Compiler, Foresees
from policyd.guardrails.acceptances import Acceptances
from policyd.model.mesh import Mesh
from policyd.model.node import nodes
from policyd.model.provenance import Key, Provenance


@dataclass(frozen=True, slots=True)
class Told:
    """How losses are told: where their intents stand, and which of them those accept."""

    provenance: Mapping[Key, Provenance]
    accepted: Acceptances

    def finding(self, loss: Loss) -> Finding:
        """The finding that a loss is, at the intent that it is about."""
        known = self.provenance.get(loss.about)
        location = known.location if known is not None else Location(".")
        return self.accepted.heeded(loss, Finding(loss.code, loss.severity, loss.message, location, loss.hint))

    def findings(self, losses: Iterable[Loss]) -> tuple[Finding, ...]:
        """Each loss once, in order."""
        return in_order(self.finding(loss) for loss in dict.fromkeys(losses))


def foreseen(mesh: Mesh, compilers: Iterable[Compiler], memo: Memo) -> Iterator[Loss]:
    """What will be lost of `mesh`; compiled only where a compiler cannot tell before.

    With the `memo` of the time before, only what is new is asked of a compiler: `memo.builds` counts that.
    """
    memo.age()
    for compiler in compilers:
        if isinstance(compiler, Foresees):
            yield from compiler.losses(mesh, memo)
        else:
            yield from (loss for node in nodes(mesh) for loss in compiler.compile(mesh, node, memo).losses)
