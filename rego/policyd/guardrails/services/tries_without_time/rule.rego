# METADATA
# title: Tries that never get their time
# description: |
#   All tries share the time of the request. Where the tries together may last longer, the last of them
#   are cut off and help nobody.
# custom:
#   code: PD2207
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.tries_without_time

import data.policyd.lib.units

warn := {finding |
	some service in input.documents.Service
	timeout := service.spec.resilience.timeout
	tries := service.spec.resilience.retries.attempts + 1
	tries > 1
	units.duration_ms(timeout.perTry) * tries > units.duration_ms(timeout.request)
	finding := {
		"msg": sprintf("%d tries of %s do not fit into a request of %s", [tries, timeout.perTry, timeout.request]),
		"document": service.id,
		"path": ["spec", "resilience", "timeout", "perTry"],
		"hint": "shorten `perTry`, make fewer attempts, or give the request more time",
	}
}
