"""Access rules as every compiler needs them: without what can allow nothing, and under the names that logs show.

The names are the same in every data plane, so that a log line, a counter or a reply means the same wherever the
request was judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from policyd.base.content import digest
from policyd.model.access import Access, Mode, Permit, Rule
from policyd.model.paths import EVERYTHING

NOT_CANONICAL = "not-canonical"
"""400: the request could be read in two ways, so no rule looked at it."""
NO_RULE_FOR_CALLER = "no-rule-for-caller"
"""403: no enforced rule names the caller."""
NO_RULE_FOR_REQUEST = "no-rule-for-request"
"""403: rules name the caller, and none of them allows this method and path now."""
NOT_IN_SCOPE = "denied-not-in-scope"
"""403, from the caller's own sidecar: no rule lets this service call this host."""
MESSAGES = {
    NOT_CANONICAL: "the request is not canonical: see method, host and path",
    NO_RULE_FOR_CALLER: "no access rule names this caller",
    NO_RULE_FOR_REQUEST: "the access rules for this caller do not allow this method and path",
    NOT_IN_SCOPE: "no access rule lets this service call this host",
}
"""What a caller is told beside the reason."""


@dataclass(frozen=True, slots=True)
class RuleSets:
    """The rules that decide, and the would-be set: the same and the observed ones beside them.

    `observed` is empty where nothing is observed.
    """

    enforced: tuple[Rule, ...]
    observed: tuple[Rule, ...]

    @classmethod
    def of(cls, access: Access, *, opaque_paths: bool) -> RuleSets:
        """The rules of one destination in order of name, those left out that can allow nothing."""
        rules = tuple(
            rule for rule in (narrowed(rule, opaque_paths=opaque_paths) for rule in access.rules) if rule.permits
        )
        enforced = tuple(rule for rule in rules if rule.mode is Mode.ENFORCE)
        return cls(enforced, rules if len(enforced) < len(rules) else ())


def narrowed(rule: Rule, *, opaque_paths: bool) -> Rule:
    """The rule without what can allow nothing: empty permits, and sets of paths where paths are opaque."""
    permits = []
    for permit in rule.permits:
        paths = tuple(path for path in permit.paths if path == EVERYTHING or not opaque_paths)
        if paths and permit.methods:
            permits.append(Permit(permit.methods, paths))
    return replace(rule, permits=tuple(permits))


def policy_name(rule: Rule) -> str:
    """`namespace/rule#hash`; the hash is of the content, so that logs tell an old wording from a new one."""
    return f"{rule.name}#{digest(rule)[:8]}"
