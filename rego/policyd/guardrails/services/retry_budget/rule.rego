# METADATA
# title: A retry budget that bounds nothing
# description: |
#   The budget is the share of active calls that may be further tries. Above a half, an outage can
#   double the load.
# custom:
#   code: PD2208
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.retry_budget

import data.policyd.lib.units

warn := {finding |
	some service in input.documents.Service
	budget := service.spec.resilience.retries.budget
	units.percent(budget) > 50
	finding := {
		"msg": sprintf("`%s` lets %s of the active calls be further tries", [service.name, budget]),
		"document": service.id,
		"path": ["spec", "resilience", "retries", "budget"],
		"hint": "20% is a good start",
	}
}
