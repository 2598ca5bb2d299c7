"""Intents to the model: a fixed line of passes, each a pure function over one explicit working value.

settings -> services -> egress -> gateways -> routes -> slos -> access -> revocations -> canaries -> strategies
-> references -> fallbacks -> route checks -> egress checks -> gateway checks -> connections -> policy tests
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policyd.base.diagnostics import Finding, has_errors, in_order
from policyd.intents import Loaded
from policyd.lowering.access import access
from policyd.lowering.canaries import canaries
from policyd.lowering.connections import connections
from policyd.lowering.egress import egress, egress_checks
from policyd.lowering.fallbacks import fallbacks
from policyd.lowering.gateway_checks import gateway_checks
from policyd.lowering.gateways import gateways
from policyd.lowering.memo import LoweringMemo
from policyd.lowering.policy_tests import policy_tests
from policyd.lowering.references import references
from policyd.lowering.revocations import revocations
from policyd.lowering.route_checks import route_checks
from policyd.lowering.routes import routes
from policyd.lowering.services import services
from policyd.lowering.settings import settings
from policyd.lowering.slos import slos
from policyd.lowering.strategies import strategies
from policyd.lowering.work import Pass, Work, by_kind
from policyd.model.mesh import Mesh, Releases
from policyd.model.provenance import Key, Provenance
from policyd.model.release import DEFAULT_STRATEGY

PASSES: tuple[Pass, ...] = (
    settings,
    services,
    egress,
    gateways,
    routes,
    slos,
    access,
    revocations,
    canaries,
    strategies,
    references,
    fallbacks,
    route_checks,
    egress_checks,
    gateway_checks,
    connections,
    policy_tests,
)


@dataclass(frozen=True, slots=True)
class Lowered:
    """The mesh, unless something is wrong with it; all findings, the loader's too; where every value came from."""

    mesh: Mesh | None
    findings: tuple[Finding, ...]
    provenance: Mapping[Key, Provenance]


def lower(loaded: Loaded, memo: LoweringMemo | None = None) -> Lowered:
    """Lower what was loaded. With the memo of the call before, unchanged documents give the very same objects.

    One finding of severity `ERROR`, wherever it comes from, and there is no mesh: a commit is whole or refused.
    """
    if not loaded.whole:
        return Lowered(None, loaded.findings, {})
    memo = memo if memo is not None else LoweringMemo()
    memo.age()
    work = Work(documents=by_kind(loaded.documents), broken=loaded.broken)
    for step in PASSES:
        work = step(work, memo)
    findings = in_order((*loaded.findings, *work.findings))
    return Lowered(None if has_errors(findings) else _mesh(work), findings, work.provenance)


def _mesh(work: Work) -> Mesh:
    assert work.settings is not None
    releases = Releases(
        canaries=work.canaries,
        slos=work.slos,
        strategy=work.strategy if work.strategy is not None else DEFAULT_STRATEGY,
    )
    return Mesh(work.settings, work.services, work.access, releases, work.revocations)
