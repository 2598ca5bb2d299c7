"""Access rules as Envoy decides them: a tree by the caller's identity, then the rules that mean this caller.

The tree costs the same with one rule as with a thousand, which a list of policies does not. It rides in the
route configuration (`RBACPerRoute`), where a change reaches live connections in milliseconds and closes none.
Its names are what logs and replies show: `namespace/rule#hash` for an allowing rule, and a few ways to say no.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2

from policyd.compiler.callers import Callers, callers
from policyd.compiler.conditions import ADDRESS, EXPIRY, PORT, TOKEN
from policyd.compiler.rules import (
    NO_RULE_FOR_CALLER,
    NO_RULE_FOR_REQUEST,
    NO_VALID_TOKEN,
    REVOKED,
    SAME,
    WOULD_ALLOW,
    WOULD_DENY,
    Judged,
    RuleSets,
)
from policyd.model.access import ANY_METHOD, Access, Permit, Rule
from policyd.model.mesh import Settings
from policyd.model.methods import CONNECTION
from policyd.model.names import SPIFFE_FORM
from policyd.model.service import Service
from policyd.model.tokens import TokenCondition
from policyd_compilers.envoy import matchers, tokens

FILTER = "envoy.filters.http.rbac"
STAT_PREFIX = "access_"
"""Begins the names of the decision's counters and metadata keys; Envoy puts no separator behind it."""
SHADOW_PREFIX = "observe_"
CONDITIONS = frozenset({ADDRESS, PORT, EXPIRY, TOKEN})
"""What is judged here besides callers, methods and paths."""

_Means = Callable[[Callers], bool]
"""Whether some callers are those of a branch of the tree."""
_Entries = Sequence[tuple[Any, Any]]


def deny_all() -> Any:
    """The listener's own filter: no policies, which denies whatever a route does not say more about."""
    return filter_pb2.RBAC(rules=rbac_pb2.RBAC(action=rbac_pb2.RBAC.ALLOW))


def per_route(settings: Settings, service: Service, access: Access) -> Any:
    """What overrides it on the routes of one destination. It always carries a whole set of rules.

    Where a rule is only observed, a second tree says how the would-be set differs from the decision; what it says
    is logged and counted, and decides nothing.
    """
    sets = RuleSets.of(access, service, CONDITIONS)
    judge = _Judge(settings, access.revoked)
    return _override(judge.decision(sets), judge.difference(sets) if sets.observes else None)


def per_caller(settings: Settings, service: Service, access: Access, identity: str) -> Any:
    """The same for a destination outside of the mesh, where only `identity` calls: his branch of the tree alone."""
    if identity in access.revoked:
        return nobody()
    sets = RuleSets.of(access, service, CONDITIONS)
    judge = _Judge(settings, access.revoked)
    shadow = judge.difference_for(sets, identity) if sets.observes else None
    return _override(judge.decision_for(sets, identity), shadow)


def with_token(issuer: str) -> Any:
    """What overrides it on the routes of a gateway that asks for a token of `issuer`.

    What was judged is what the service reads: one token and nothing beside it. None is good without keys.
    """
    fits = tokens.Judge(()).meets(TokenCondition(issuer))
    return _override(matchers.first_of([(fits, _allow(issuer))], _deny(NO_VALID_TOKEN)), None)


def _override(matcher: Any, shadow: Any | None) -> Any:
    rbac = filter_pb2.RBAC(matcher=matcher, rules_stat_prefix=STAT_PREFIX, track_per_rule_stats=True)
    if shadow is not None:
        rbac.shadow_matcher.CopyFrom(shadow)
        rbac.shadow_rules_stat_prefix = SHADOW_PREFIX
    return filter_pb2.RBACPerRoute(rbac=rbac)


def nobody() -> Any:
    """What closes a destination outside of the mesh to a caller who has been cut off since."""
    rbac = filter_pb2.RBAC(matcher=matchers.first_of((), _deny(REVOKED)), rules_stat_prefix=STAT_PREFIX)
    return filter_pb2.RBACPerRoute(rbac=rbac)


def cut_off(override: Any, revoked: Sequence[str]) -> bool:
    """Close rules that were compiled before to these identities too. False where that changes nothing."""
    before = override.SerializeToString(deterministic=True)
    for matcher, denied in ((override.rbac.matcher, REVOKED), (override.rbac.shadow_matcher, SAME)):
        if not (matcher.HasField("matcher_tree") or matcher.HasField("matcher_list")):
            continue  # nobody is let in
        if not matcher.matcher_tree.HasField("exact_match_map"):
            whole = matchers.by_identity({}, matchers.then(matcher))
            matcher.CopyFrom(whole)
        for identity in revoked:
            matcher.matcher_tree.exact_match_map.map[identity].CopyFrom(_deny(denied))
    return bool(override.SerializeToString(deterministic=True) != before)


class _Judge:
    """Builds the trees of one destination."""

    def __init__(self, settings: Settings, revoked: Sequence[str]) -> None:
        self._trust_domain = settings.trust_domain
        self._tokens = tokens.Judge(settings.issuers)
        self._revoked = revoked
        self._known: dict[tuple[str, bool], list[tuple[Callers, Any]]] = {}

    def decision(self, sets: RuleSets) -> Any:
        """The matcher that allows what some rule allows, and denies by name everything else."""
        branch = self._decided(sets)
        return self._tree(sets.enforced, branch, revoked=_deny(REVOKED), otherwise=_deny(NO_RULE_FOR_CALLER))

    def decision_for(self, sets: RuleSets, identity: str) -> Any:
        """The same where nobody else can call."""
        return self._decided(sets)(_including(identity))

    def _decided(self, sets: RuleSets) -> Callable[[_Means], Any]:
        rules = sets.enforced

        def branch(means: _Means) -> Any:
            allowed = self._entries(rules, means, lambda rule: _allow(rule.name))
            asked = [rule for rule in rules if rule.rule.token is not None]
            challenged = self._entries(asked, means, lambda _: _deny(NO_VALID_TOKEN), challenge=True)
            return matchers.first_of((*allowed, *challenged), _deny(NO_RULE_FOR_REQUEST))

        return branch

    def difference(self, sets: RuleSets) -> Any:
        """The matcher that says of each request whether the would-be set decides alike, and if not, by which rule."""
        same = _deny(SAME)
        return self._tree((*sets.enforced, *sets.added), self._differing(sets), revoked=same, otherwise=same)

    def difference_for(self, sets: RuleSets, identity: str) -> Any:
        """The same where nobody else can call."""
        return self._differing(sets)(_including(identity))

    def _differing(self, sets: RuleSets) -> Callable[[_Means], Any]:
        same = _deny(SAME)

        def branch(means: _Means) -> Any:
            back = [rule for rule in sets.dropped if rule.again is not None]
            kept = self._entries((*sets.kept, *back), means, lambda _: _allow(SAME), would=True)
            alike = self._entries(sets.added, means, lambda _: _allow(SAME), would=True)
            dropped = self._entries(
                sets.dropped,
                means,
                lambda rule: matchers.then(matchers.first_of(alike, _deny(f"{WOULD_DENY} {rule.name}"))),
            )
            added = self._entries(sets.added, means, lambda rule: _allow(f"{WOULD_ALLOW} {rule.name}"), would=True)
            return matchers.first_of((*kept, *dropped, *added), same)

        return branch

    def _tree(self, rules: Iterable[Judged], branch: Callable[[_Means], Any], *, revoked: Any, otherwise: Any) -> Any:
        """The matcher that finds the caller: by his whole identity, else by the longest prefix of it."""
        everyone = [who for each in rules for who, _ in self._asks(each, challenge=False)]
        identities = sorted({identity for who in everyone for identity in who.exact})
        prefixes = sorted({prefix for who in everyone for prefix in who.prefixes})
        if prefixes:
            by_prefix = {prefix: matchers.then(branch(_covering(prefix))) for prefix in prefixes}
            found = matchers.then(matchers.by_identity_prefix(by_prefix, otherwise))
            # A prefix says nothing of the rest: two identities in one certificate are joined by a comma here.
            otherwise = matchers.then(matchers.first_of([(matchers.identity_is(SPIFFE_FORM), found)], otherwise))
        by_name = {identity: matchers.then(branch(_including(identity))) for identity in identities}
        by_name |= dict.fromkeys(self._revoked, revoked)
        if by_name:
            otherwise = matchers.then(matchers.by_identity(by_name, otherwise))
        return otherwise.matcher if otherwise.HasField("matcher") else matchers.first_of((), otherwise)

    def _entries(
        self,
        rules: Iterable[Judged],
        means: _Means,
        becomes: Callable[[Judged], Any],
        *,
        challenge: bool = False,
        would: bool = False,
    ) -> _Entries:
        """Of each rule that means the callers of a branch: what it asks for, and what becomes of what fits.

        With `would`, a rule that others stand for fits from the instant on at which none of them does any more.
        """
        return [
            (_again(fits, each) if would else fits, becomes(each))
            for each in rules
            for who, fits in self._asks(each, challenge=challenge)
            if means(who)
        ]

    def _asks(self, rule: Judged, *, challenge: bool) -> Sequence[tuple[Callers, Any]]:
        """Whom a rule means and what it asks of them; worked out once for all branches."""
        key = (rule.name, challenge)
        if key not in self._known:
            self._known[key] = [
                (who, self._fits(rule.rule, who, challenge=challenge))
                for who in callers(rule.rule, self._trust_domain)
            ]
        return self._known[key]

    def _fits(self, rule: Rule, who: Callers, *, challenge: bool) -> Any:
        """All that the rule asks for besides the identity; with `challenge`, all but its token, and no good token."""
        parts = [matchers.any_of([_permit(permit) for permit in rule.permits])]
        if who.blocks:
            parts.append(matchers.peer_within(who.blocks))
        if rule.expires is not None:
            parts.append(matchers.before(rule.expires))
        if challenge:
            parts.append(matchers.none_of(self._tokens.valid()))
        elif rule.token is not None:
            parts.append(self._tokens.meets(rule.token))
        return matchers.all_of(parts)


def _again(fits: Any, rule: Judged) -> Any:
    return fits if rule.again is None else matchers.all_of([fits, matchers.none_of(matchers.before(rule.again))])


def _including(identity: str) -> _Means:
    return lambda who: who.include(identity)


def _covering(prefix: str) -> _Means:
    return lambda who: who.cover(prefix)


def _permit(permit: Permit) -> Any:
    if permit.connections:
        return matchers.method_is(CONNECTION)  # a connection has no path
    parts = []
    if ANY_METHOD not in permit.methods:
        parts.append(matchers.any_of([matchers.method_is(method) for method in permit.methods]))
    parts.append(matchers.any_of([matchers.path_in(path) for path in permit.paths]))
    return matchers.all_of(parts)


def _allow(name: str) -> Any:
    return matchers.act("allow", rbac_pb2.Action(name=name, action=rbac_pb2.RBAC.ALLOW))


def _deny(name: str) -> Any:
    return matchers.act("deny", rbac_pb2.Action(name=name, action=rbac_pb2.RBAC.DENY))
