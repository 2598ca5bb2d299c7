"""What the map says of calls that leave the mesh: judged by callers' sidecars, which count without the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from policyd.api.service_map import Tried
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.scope import Scope
from policyd.telemetry.edges import RuleAt, Seen

NOTE = (
    "denied on the way out of the mesh: by the caller's own sidecar, over all hosts outside that it may call, so"
    " there is an upper bound for each; which host it was is in its access log"
)


def kept_in(mesh: Mesh, seen: Seen) -> Iterator[Tried]:
    """Calls that rules did not let out, for each host outside that the caller may call at all."""
    reasons: dict[Name, dict[str, int]] = {}
    for (caller, reason), count in sorted(seen.kept_in.items()):
        reasons.setdefault(caller, {})[reason] = count
    for caller, why in reasons.items():
        hosts = sorted(outside(mesh).intersection(Scope.of(mesh).destinations(caller)))
        for callee in [str(host) for host in hosts] or [""]:
            yield Tried(str(caller), callee, "caller", why, sum(why.values()))


def at_their_hosts(mesh: Mesh, seen: Seen) -> Seen:
    """The same with what rules let out of the mesh at the hosts that they are about, whoever counted it."""
    rules = {str(rule.name): name for name in outside(mesh) for rule in mesh.access[name].rules}
    if not rules:
        return seen
    matched: dict[RuleAt, int] = {}
    for (where, rule), count in seen.matched.items():
        key = rules.get(rule, where), rule
        matched[key] = matched.get(key, 0) + count
    last: dict[RuleAt, datetime] = {}
    for (where, rule), at in seen.rule_last_used.items():
        key = rules.get(rule, where), rule
        last[key] = max(at, last.get(key, at))
    return replace(seen, matched=matched, rule_last_used=last)


def outside(mesh: Mesh) -> frozenset[Name]:
    """The hosts outside of the mesh that it knows."""
    return frozenset(name for name, service in mesh.services.items() if service.external is not None)
