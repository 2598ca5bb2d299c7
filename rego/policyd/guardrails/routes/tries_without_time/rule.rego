# METADATA
# title: Tries in a route that never get their time
# description: |
#   All tries share the time of the request. Where the tries together may last longer, the last of them
#   are cut off and help nobody.
# custom:
#   code: PD2228
#   severity: warning
#   exemptible: true
package policyd.guardrails.routes.tries_without_time

import data.policyd.lib.units

# What an override leaves out is the service's, which is another document.
warn := {finding |
	some route in input.documents.Route
	override := route.spec.rules[i].resilience
	tries := override.retries.attempts + 1
	tries > 1
	units.duration_ms(override.timeout.perTry) * tries > units.duration_ms(override.timeout.request)
	finding := {
		"msg": sprintf("%d tries of %s do not fit into a request of %s", [tries, override.timeout.perTry, override.timeout.request]),
		"document": route.id,
		"path": ["spec", "rules", i, "resilience", "timeout", "perTry"],
		"hint": "shorten `perTry`, make fewer attempts, or give the request more time",
	}
}
