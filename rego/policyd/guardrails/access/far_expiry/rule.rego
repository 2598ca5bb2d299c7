# METADATA
# title: The rule expires in the far future
# description: |
#   An end more than a year away is not an end: nobody will remember why the access was given.
# custom:
#   code: PD2105
#   severity: warning
#   exemptible: true
package policyd.guardrails.access.far_expiry

warn := {finding |
	some rule in input.documents.AccessRule
	rule.daysLeft > 366
	finding := {
		"msg": sprintf("`%s` expires on %s, more than a year from now", [rule.name, rule.spec.expires]),
		"document": rule.id,
		"path": ["spec", "expires"],
		"hint": "choose a date within a year and renew it then, or leave `expires` out where the access is meant to last",
	}
}
