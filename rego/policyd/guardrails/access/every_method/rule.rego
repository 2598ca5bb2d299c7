# METADATA
# title: Every method of a critical service
# description: |
#   A caller that only reads does not need `DELETE`. A critical service says which methods each caller
#   may use.
# custom:
#   code: PD2107
#   severity: warning
#   exemptible: true
package policyd.guardrails.access.every_method

warn := {finding |
	some rule in input.documents.AccessRule
	rule.critical
	permit := rule.spec.allow[i]
	"*" in permit.methods
	finding := {
		"msg": sprintf("`%s` allows every method of `%s`, which is `tier: critical`", [rule.name, rule.spec.to]),
		"document": rule.id,
		"path": ["spec", "allow", i, "methods"],
		"hint": "list the methods that its callers use",
	}
}
