# METADATA
# title: Panic while most instances are healthy
# description: |
#   In panic calls go to instances that are known to be unhealthy. Above a half, the health checks of a
#   version count for nothing while most of its instances could still serve.
# custom:
#   code: PD2211
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.early_panic

import data.policyd.lib.units

warn := {finding |
	some service in input.documents.Service
	share := service.spec.resilience.panicThreshold
	units.percent(share) > 50
	finding := {
		"msg": sprintf("`%s` calls unhealthy instances as soon as fewer than %s are healthy", [service.name, share]),
		"document": service.id,
		"path": ["spec", "resilience", "panicThreshold"],
		"hint": "50% at most, or leave it out: then nobody who is unhealthy is called",
	}
}
