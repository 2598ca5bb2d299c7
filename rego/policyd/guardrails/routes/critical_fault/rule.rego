# METADATA
# title: A fault in a critical service
# description: |
#   The callers of a critical service are the business. An experiment with them has an end, an owner and a
#   reason: it needs an exception.
# custom:
#   code: PD2217
#   severity: error
#   exemptible: true
package policyd.guardrails.routes.critical_fault

deny := {finding |
	some route in input.documents.Route
	route.critical
	rule := route.spec.rules[i]
	rule.fault
	finding := {
		"msg": sprintf("a rule of `%s` makes trouble for callers of a service that is `tier: critical`", [route.name]),
		"document": route.id,
		"path": ["spec", "rules", i, "fault"],
		"hint": "try it with another service, or get an exception with an end date",
	}
}
