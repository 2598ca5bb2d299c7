"""Access rules as every compiler needs them: without what can allow nothing, and under the names that logs show.

The names are the same in every data plane, so that a log line, a counter or a reply means the same wherever the
request was judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from policyd.base.content import digest
from policyd.compiler.conditions import conditions
from policyd.model.access import Access, Mode, Permit, Rule
from policyd.model.paths import EVERYTHING
from policyd.model.service import Protocol, Service

NOT_CANONICAL = "not-canonical"
"""400: the request could be read in two ways, so no rule looked at it."""
REVOKED = "revoked"
"""403, before any rule: the caller is cut off."""
NO_RULE_FOR_CALLER = "no-rule-for-caller"
"""403: no enforced rule names the caller."""
NO_RULE_FOR_REQUEST = "no-rule-for-request"
"""403: rules name the caller, and none of them allows this request now."""
NO_VALID_TOKEN = "no-valid-token"  # noqa: S105
"""401: a rule would allow the request, had it come with a token that can be believed."""
NOT_IN_SCOPE = "denied-not-in-scope"
"""403, from the caller's own sidecar: no rule lets this service call this host."""
MISDIRECTED = "misdirected"
"""421, from a gateway: the connection was opened for other hosts than the one that the request is for."""
ADDRESS_NOT_ALLOWED = "address-not-allowed"
"""403, from a gateway: clients do not come from there."""
RATE_LIMITED = "rate-limited"
"""429: an access rule let the request in, and it is one too many."""
MESSAGES = {
    NOT_CANONICAL: "the request is not canonical: see method, host and path",
    REVOKED: "this caller has been cut off",
    NO_RULE_FOR_CALLER: "no access rule names this caller",
    NO_RULE_FOR_REQUEST: "the access rules for this caller do not allow this method and path",
    NO_VALID_TOKEN: "the access rules ask for a valid token in `authorization: Bearer`",
    NOT_IN_SCOPE: "no access rule lets this service call this host",
    MISDIRECTED: "this connection is not for that host",
    ADDRESS_NOT_ALLOWED: "clients do not come from this address",
    RATE_LIMITED: "the service takes no more requests like this one for now: see `retry-after`",
}
"""What a caller is told beside the reason."""
WOULD_ALLOW = "would-allow"
WOULD_DENY = "would-deny"
SAME = "same"
"""What the would-be set says of a request, seen from the decision. The two that differ stand before a rule's name."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule as a proxy judges it: without what can allow nothing there, under the name that logs show."""

    rule: Rule
    name: str
    again: datetime | None = None
    """Where observed rules stand for it: the instant from which none of them does any more, if that ever comes."""


@dataclass(frozen=True, slots=True)
class RuleSets:
    """The rules of one destination in order of name: those that decide, and how the would-be set differs.

    That set is `kept` and `added` together: the observed rules in the place of the enforced ones that they replace.
    Of `dropped` and `added`, a rule with `again` is in it from then on only.
    """

    kept: tuple[Judged, ...]
    """Enforced, and in the would-be set."""
    dropped: tuple[Judged, ...]
    """Enforced, and replaced by observed rules."""
    added: tuple[Judged, ...]
    """Observed, and not replaced for ever."""

    @property
    def enforced(self) -> tuple[Judged, ...]:
        """The rules that decide."""
        return _in_order((*self.kept, *self.dropped))

    @property
    def would_be(self) -> tuple[Judged, ...]:
        """The rules that would decide if all were enforced; one with `again`, from then on."""
        back = (each for each in self.dropped if each.again is not None)
        return _in_order((*self.kept, *back, *self.added))

    @property
    def observes(self) -> bool:
        """Whether the two can differ at all."""
        return bool(self.added or self.dropped)

    @classmethod
    def of(cls, access: Access, service: Service, says: Collection[str]) -> RuleSets:
        """The rules to `service` for a proxy that can judge the conditions in `says`.

        A rule with any other condition is left out whole (`policyd.compiler.losses` says so), as if it had not been
        written: what a proxy does not understand can only narrow.
        """
        understood = replace(access, rules=tuple(rule for rule in access.rules if understands(says, rule)))
        until = understood.replaced_until
        judged = [_judged(rule, service, until.get(rule.name)) for rule in understood.rules]
        enforced = [each for each in judged if each.rule.permits and each.rule.mode is Mode.ENFORCE]
        observed = [each for each in judged if each.rule.permits and each.rule.mode is Mode.OBSERVE]
        return cls(
            tuple(each for each in enforced if each.rule.name not in until),
            tuple(each for each in enforced if each.rule.name in until),
            tuple(each for each in observed if each.again is not None or each.rule.name not in until),
        )


def understands(says: Collection[str], rule: Rule) -> bool:
    """Whether a proxy that can judge the conditions in `says` can judge all that `rule` asks for."""
    return conditions(rule) <= frozenset(says)


def policy_name(rule: Rule) -> str:
    """`namespace/rule#hash`; the hash is of the content, so that logs tell an old wording from a new one."""
    return f"{rule.name}#{digest(rule)[:8]}"


def _judged(rule: Rule, service: Service, again: datetime | None) -> Judged:
    """The rule without empty permits, ports where the service is not, and sets of paths where paths are opaque.

    Connections go to services that take them, requests to the others. A sidecar is reached for one service at one
    port, so no condition on the port is left for the proxy.
    """
    permits = []
    for permit in rule.permits:
        paths = tuple(path for path in permit.paths if path == EVERYTHING or not service.opaque_paths)
        reached = not permit.ports or service.port in permit.ports
        reached = reached and permit.connections is (service.protocol is Protocol.TCP)
        if paths and permit.methods and reached:
            permits.append(Permit(permit.methods, paths))
    return Judged(replace(rule, permits=tuple(permits)), policy_name(rule), again)


def _in_order(judged: Iterable[Judged]) -> tuple[Judged, ...]:
    return tuple(sorted(judged, key=lambda each: each.rule.name))
