# METADATA
# title: A service without a health check
# description: |
#   Callers find out that an instance cannot serve only by failing on it. A service that speaks `tcp`
#   has no path to ask.
# custom:
#   code: PD2203
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.services.health_check

deny := {finding |
	some service in input.documents.Service
	not service.spec.healthCheck
	not service.spec.protocol == "tcp"
	finding := {
		"msg": sprintf("`%s` has no health check", [service.name]),
		"document": service.id,
		"path": ["metadata", "name"],
		"hint": "for example `healthCheck: {path: /healthz}`",
	}
}
