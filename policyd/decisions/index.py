"""The access index: every destination's rules, found by destination, then by caller, then by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from policyd.decisions import reasons
from policyd.decisions.decision import Cause, Decision, Reason
from policyd.decisions.destination import Destination, Verdict
from policyd.decisions.request import Request, fault
from policyd.model.mesh import Mesh
from policyd.model.names import Name, is_spiffe_id
from policyd.model.service import Protocol

_MALFORMED, _NOT_CANONICAL = Verdict(Cause.MALFORMED), Verdict(Cause.NOT_CANONICAL)
_UNKNOWN_DESTINATION = Verdict(Cause.UNKNOWN_DESTINATION)


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
                and old.connections is (service.protocol is Protocol.TCP)
                and (old.access is access or old.access.digest == access.digest)
                and (same_issuers or not old.asks_tokens)
            ):
                made[name] = old
            else:
                made[name] = Destination.of(
                    access,
                    domain,
                    opaque_paths=service.opaque_paths,
                    port=service.port,
                    connections=service.protocol is Protocol.TCP,
                    issuers=issuers,
                )
        return cls(domain, made, issuers)

    def judge(self, request: Request, at: datetime) -> Verdict:
        """What is decided at the instant `at`: all of `decide` but the words."""
        if not is_spiffe_id(request.source):
            return _MALFORMED
        destination = self.destinations.get(request.destination)
        if _fault(request, destination):
            return _NOT_CANONICAL
        return _UNKNOWN_DESTINATION if destination is None else destination.judge(request, at)

    def decide(self, request: Request, at: datetime) -> Decision:
        """The decision at the instant `at`. What is not canonical is rejected, what no rule allows is denied."""
        return self.explained(self.judge(request, at), request, at)

    def explained(self, verdict: Verdict, request: Request, at: datetime) -> Decision:
        """What was decided, with the reasons."""
        return Decision(*verdict, partial(self._reasons, verdict, request, at))

    def _reasons(self, verdict: Verdict, request: Request, at: datetime) -> tuple[Reason, ...]:
        destination = self.destinations.get(request.destination)
        if verdict.cause is Cause.MALFORMED:
            return reasons.nobody(request)
        if verdict.cause is Cause.NOT_CANONICAL:
            return reasons.plain(_fault(request, destination))
        if destination is None:
            return reasons.unknown(request)
        return reasons.why(destination, request, at, verdict)


def _fault(request: Request, destination: Destination | None) -> str:
    if destination is None:
        return fault(request, opaque_paths=False)
    return fault(request, opaque_paths=destination.opaque_paths, connections=destination.connections)
