# METADATA
# title: Most instances may be left out
# description: |
#   What is left out leaves its requests to the others. Beyond a half, a fault that many instances share
#   overloads those that still work.
# custom:
#   code: PD2209
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.many_ejected

import data.policyd.lib.units

warn := {finding |
	some service in input.documents.Service
	share := service.spec.resilience.outlierDetection.maxEjected
	units.percent(share) > 50
	finding := {
		"msg": sprintf("up to %s of the instances of `%s` may be left out at the same time", [share, service.name]),
		"document": service.id,
		"path": ["spec", "resilience", "outlierDetection", "maxEjected"],
		"hint": "50% is a good start",
	}
}
