"""The access index: every destination's rules, found by destination, then by caller, then by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from policyd.decisions import reasons
from policyd.decisions.decision import Cause, Decision
from policyd.decisions.destination import Destination
from policyd.decisions.request import Request, fault
from policyd.model.mesh import Mesh
from policyd.model.names import Name, is_spiffe_id


@dataclass(frozen=True, slots=True)
class Index:
    """Answers requests for one mesh. Never changes; a new mesh gets a new index that shares what is equal."""

    trust_domain: str
    destinations: Mapping[Name, Destination]
    issuers: Mapping[str, str] = field(default_factory=dict)
    """The `iss` of tokens by the name that rules use."""

    @classmethod
    def build(cls, mesh: Mesh, previous: Index | None = None) -> Index:
        """The index of `mesh`; destinations whose rules `previous` knows are taken from there."""
        domain = mesh.settings.trust_domain
        issuers = {issuer.name: issuer.url for issuer in mesh.settings.issuers}
        known = previous.destinations if previous is not None and previous.trust_domain == domain else {}
        same_issuers = previous is not None and previous.issuers == issuers
        made: dict[Name, Destination] = {}
        for name, service in mesh.services.items():
            access = mesh.access[name]
            old = known.get(name)
            if (
                old is not None
                and (old.opaque_paths, old.port) == (service.opaque_paths, service.port)
                and (old.access is access or old.access.digest == access.digest)
                and (same_issuers or not old.asks_tokens)
            ):
                made[name] = old
            else:
                made[name] = Destination.of(
                    access, domain, opaque_paths=service.opaque_paths, port=service.port, issuers=issuers
                )
        return cls(domain, made, issuers)

    def decide(self, request: Request, at: datetime) -> Decision:
        """The decision at the instant `at`. What is not canonical is rejected, what no rule allows is denied."""
        if not is_spiffe_id(request.source):
            return Decision(Cause.MALFORMED, None, None, None, partial(reasons.nobody, request))
        destination = self.destinations.get(request.destination)
        wrong = fault(request, opaque_paths=destination is not None and destination.opaque_paths)
        if wrong:
            return Decision(Cause.NOT_CANONICAL, None, None, None, partial(reasons.plain, wrong))
        if destination is None:
            return Decision(Cause.UNKNOWN_DESTINATION, None, None, None, partial(reasons.unknown, request))
        verdict = destination.judge(request, at)
        return Decision(*verdict, partial(reasons.why, destination, request, at, verdict))
