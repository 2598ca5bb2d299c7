"""Access rules as Envoy decides them: a tree by the caller's identity, then the rules that mean this caller.

The tree costs the same with one rule as with a thousand, which a list of policies does not. It rides in the
route configuration (`RBACPerRoute`), where a change reaches live connections in milliseconds and closes none.
Its names are what logs and replies show: `namespace/rule#hash` for an allowing rule, and two ways to say no.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2

from policyd.compiler.callers import callers
from policyd.compiler.rules import NO_RULE_FOR_CALLER, NO_RULE_FOR_REQUEST, RuleSets, policy_name
from policyd.model.access import ANY_METHOD, Access, Permit, Rule
from policyd_compilers.envoy import matchers

FILTER = "envoy.filters.http.rbac"
STAT_PREFIX = "access_"
"""Begins the names of the decision's counters and metadata keys; Envoy puts no separator behind it."""
SHADOW_PREFIX = "observe_"


def deny_all() -> Any:
    """The listener's own filter: no policies, which denies whatever a route does not say more about."""
    return filter_pb2.RBAC(rules=rbac_pb2.RBAC(action=rbac_pb2.RBAC.ALLOW))


def per_route(access: Access, trust_domain: str, *, opaque_paths: bool) -> Any:
    """What overrides it on the routes of one destination. It always carries a whole set of rules.

    Where a rule is only observed, the whole would-be set (enforced and observed) is evaluated beside the
    enforced one; it is logged and counted, and decides nothing.
    """
    sets = RuleSets.of(access, opaque_paths=opaque_paths)
    rbac = filter_pb2.RBAC(
        matcher=decision_tree(sets.enforced, trust_domain), rules_stat_prefix=STAT_PREFIX, track_per_rule_stats=True
    )
    if sets.observed:
        rbac.shadow_matcher.CopyFrom(decision_tree(sets.observed, trust_domain))
        rbac.shadow_rules_stat_prefix = SHADOW_PREFIX
    return filter_pb2.RBACPerRoute(rbac=rbac)


def decision_tree(rules: Sequence[Rule], trust_domain: str) -> Any:
    """The matcher that allows what some rule allows, and denies by name everything else."""
    entries = [(callers(rule, trust_domain), _entry(rule)) for rule in rules]
    identities = sorted({identity for who, _ in entries for identity in who.exact})
    prefixes = sorted({prefix for who, _ in entries for prefix in who.prefixes})
    otherwise = _deny(NO_RULE_FOR_CALLER)
    if prefixes:
        by_prefix = {prefix: _first_of(entry for who, entry in entries if who.cover(prefix)) for prefix in prefixes}
        otherwise = matchers.then(matchers.by_identity_prefix(by_prefix, otherwise))
    if identities:
        by_name = {name: _first_of(entry for who, entry in entries if who.include(name)) for name in identities}
        otherwise = matchers.then(matchers.by_identity(by_name, otherwise))
    return otherwise.matcher if otherwise.HasField("matcher") else matchers.first_of((), otherwise)


def _first_of(entries: Iterable[tuple[Any, Any]]) -> Any:
    return matchers.then(matchers.first_of(tuple(entries), _deny(NO_RULE_FOR_REQUEST)))


def _entry(rule: Rule) -> tuple[Any, Any]:
    """What the rule allows, whoever calls, and the action that says which rule it was."""
    predicate = matchers.any_of([_permit(permit) for permit in rule.permits])
    if rule.expires is not None:
        predicate = matchers.all_of([predicate, matchers.before(rule.expires)])
    return predicate, matchers.act("allow", rbac_pb2.Action(name=policy_name(rule), action=rbac_pb2.RBAC.ALLOW))


def _permit(permit: Permit) -> Any:
    parts = []
    if ANY_METHOD not in permit.methods:
        parts.append(matchers.any_of([matchers.method_is(method) for method in permit.methods]))
    parts.append(matchers.any_of([matchers.path_in(path) for path in permit.paths]))
    return matchers.all_of(parts)


def _deny(name: str) -> Any:
    return matchers.act("deny", rbac_pb2.Action(name=name, action=rbac_pb2.RBAC.DENY))
