"""Guardrails: what a platform team does not want in its mesh, said in Rego and judged before a commit is taken.

bundle + team   find the rules: shipped with policyd, and the intent repository's own `rego/` folder
document        make one JSON document of the whole commit
engine          judge it in one query: `opa` (an OPA server) or `embedded` (regopy in a child process)
check           turn what the rules said into findings with file, line and column, minus exceptions
"""

from policyd.guardrails.bundle import Bundle, Module, shipped_bundle
from policyd.guardrails.check import check
from policyd.guardrails.choice import choose, find_opa
from policyd.guardrails.engine import Engine
from policyd.guardrails.team import with_team_rules

__all__ = ["Bundle", "Engine", "Module", "check", "choose", "find_opa", "shipped_bundle", "with_team_rules"]
