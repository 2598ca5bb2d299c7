"""Every kind of intent, by `apiVersion` and `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from policyd.intents.access_rule import AccessRule
from policyd.intents.canary_split import CanarySplit
from policyd.intents.egress import Egress
from policyd.intents.gateway import Gateway
from policyd.intents.kind import OPENSLO, POLICYD, Intent
from policyd.intents.mesh import Mesh
from policyd.intents.openslo import OpensloIntent, Sli, Slo
from policyd.intents.policy_test import PolicyTest
from policyd.intents.revocation import Revocation
from policyd.intents.rollout_strategy import RolloutStrategy
from policyd.intents.route import Route
from policyd.intents.service import Service

AnyIntent = Intent | OpensloIntent

KINDS: Mapping[tuple[str, str], type[AnyIntent]] = MappingProxyType(
    {
        (POLICYD, "Mesh"): Mesh,
        (POLICYD, "Service"): Service,
        (POLICYD, "Egress"): Egress,
        (POLICYD, "Gateway"): Gateway,
        (POLICYD, "Route"): Route,
        (POLICYD, "AccessRule"): AccessRule,
        (POLICYD, "Revocation"): Revocation,
        (POLICYD, "PolicyTest"): PolicyTest,
        (POLICYD, "CanarySplit"): CanarySplit,
        (POLICYD, "RolloutStrategy"): RolloutStrategy,
        (OPENSLO, "SLO"): Slo,
        (OPENSLO, "SLI"): Sli,
    }
)
API_VERSIONS = tuple(dict.fromkeys(api_version for api_version, _ in KINDS))
