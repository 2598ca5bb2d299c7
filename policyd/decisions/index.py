"""The access index: every destination's rules, found by destination, then by caller, then by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policyd.decisions import reasons
from policyd.decisions.compiled import Destination
from policyd.decisions.decision import Decision, Outcome
from policyd.decisions.request import Request, fault
from policyd.model.mesh import Mesh
from policyd.model.names import Name


@dataclass(frozen=True, slots=True)
class Index:
    """Answers requests for one mesh. Never changes; a new mesh gets a new index that shares what is equal."""

    trust_domain: str
    destinations: Mapping[Name, Destination]

    @classmethod
    def build(cls, mesh: Mesh, previous: Index | None = None) -> Index:
        """The index of `mesh`; destinations whose rules `previous` knows are taken from there."""
        domain = mesh.settings.trust_domain
        known = previous.destinations if previous is not None and previous.trust_domain == domain else {}
        made: dict[Name, Destination] = {}
        for name, service in mesh.services.items():
            access = mesh.access[name]
            old = known.get(name)
            if (
                old is not None
                and old.opaque_paths == service.opaque_paths
                and (old.access is access or old.access.digest == access.digest)
            ):
                made[name] = old
            else:
                made[name] = Destination.of(access, domain, opaque_paths=service.opaque_paths)
        return cls(domain, made)

    def decide(self, request: Request, at: datetime) -> Decision:
        """The decision at the instant `at`. What is not canonical is rejected, what no rule allows is denied."""
        destination = self.destinations.get(request.destination)
        wrong = fault(request, opaque_paths=destination is not None and destination.opaque_paths)
        if wrong:
            return Decision(Outcome.REJECT, None, (reasons.plain(wrong),))
        if destination is None:
            return Decision(Outcome.DENY, None, (reasons.unknown(request),))
        rule, obstacles = destination.allowing(request, at)
        if rule is not None:
            return Decision(Outcome.ALLOW, rule, (reasons.allowed(request, rule, self.trust_domain),))
        return Decision(Outcome.DENY, None, reasons.denied(destination, request, obstacles, at, self.trust_domain))
