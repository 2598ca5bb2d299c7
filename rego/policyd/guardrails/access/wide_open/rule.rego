# METADATA
# title: Every path of a critical service
# description: |
#   A caller of a critical service gets only the paths that it needs, so that a fault or a theft of its
#   identity stays small.
# custom:
#   code: PD2104
#   severity: error
#   exemptible: true
package policyd.guardrails.access.wide_open

deny := {finding |
	some rule in input.documents.AccessRule
	rule.critical
	permit := rule.spec.allow[i]
	path := permit.paths[j]
	path == "/**"
	finding := {
		"msg": sprintf("`%s` allows every path of `%s`, which is `tier: critical`", [rule.name, rule.spec.to]),
		"document": rule.id,
		"path": ["spec", "allow", i, "paths", j],
		"hint": "list the paths that its callers need",
	}
}
