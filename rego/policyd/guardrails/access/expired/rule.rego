# METADATA
# title: The rule has expired
# description: |
#   From its `expires` on a rule allows nothing. What is left in the file only misleads its readers.
# custom:
#   code: PD2103
#   severity: warning
#   exemptible: false
package policyd.guardrails.access.expired

warn := {finding |
	some rule in input.documents.AccessRule
	rule.daysLeft <= 0
	finding := {
		"msg": sprintf("`%s` expired on %s and allows nothing", [rule.name, rule.spec.expires]),
		"document": rule.id,
		"path": ["spec", "expires"],
		"hint": "delete the rule, or let its owner renew it",
	}
}
