# METADATA
# title: A fault for most of the requests
# description: |
#   An experiment shows as much with a few requests. One that meets more than half of them is an outage.
# custom:
#   code: PD2218
#   severity: error
#   exemptible: true
package policyd.guardrails.routes.large_fault

import data.policyd.lib.units

deny := {finding |
	some route in input.documents.Route
	rule := route.spec.rules[i]
	fault := rule.fault[kind]
	units.percent(fault.share) > 50
	finding := {
		"msg": sprintf("the %s of `%s` meets %s of the requests", [kind, route.name, fault.share]),
		"document": route.id,
		"path": ["spec", "rules", i, "fault", kind, "share"],
		"hint": "50% is the most",
	}
}
