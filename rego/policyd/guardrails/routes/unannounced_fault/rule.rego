# METADATA
# title: A fault that nobody announced
# description: |
#   A fault makes trouble for real callers. Whoever writes one says so with the label `faults: allowed` on the
#   route, so that it cannot slip through a review.
# custom:
#   code: PD2216
#   severity: error
#   exemptible: true
package policyd.guardrails.routes.unannounced_fault

deny := {finding |
	some route in input.documents.Route
	not route.labels.faults == "allowed"
	rule := route.spec.rules[i]
	rule.fault
	finding := {
		"msg": sprintf("a rule of `%s` makes trouble for callers on purpose", [route.name]),
		"document": route.id,
		"path": ["spec", "rules", i, "fault"],
		"hint": "say that it is meant, with `labels: {faults: allowed}` in the metadata of the route",
	}
}
