"""Guardrails: what a platform team does not want in its mesh, said in Rego and judged before a commit is taken.

bundle + team   find the rules: shipped with policyd, and the intent repository's own `rego/` folder
document        make one JSON document of the whole commit
engine          judge it in one query: `opa` (an OPA server) or `embedded` (regopy in a child process)
check           turn what the rules said into findings with file, line and column, minus exceptions
"""
