# METADATA
# title: An observed rule without an end
# description: |
#   A rule in `mode: observe` is a trial. Without an end date it stays for ever and everyone believes
#   that it allows something.
# custom:
#   code: PD2106
#   severity: warning
#   exemptible: true
package policyd.guardrails.access.observe_without_end

warn := {finding |
	some rule in input.documents.AccessRule
	rule.spec.mode == "observe"
	not rule.spec.expires
	finding := {
		"msg": sprintf("`%s` only observes, and has no end", [rule.name]),
		"document": rule.id,
		"path": ["spec", "mode"],
		"hint": "add `expires`, and by then enforce the rule or delete it",
	}
}
