# METADATA
# title: A service without an SLO
# description: |
#   Without an objective nobody knows what healthy means: releases are not watched and cannot go back by
#   themselves.
# custom:
#   code: PD2202
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.services.slo

deny := {finding |
	some service in input.documents.Service
	not service.spec.slo
	not "SLO" in service.subjectOf
	finding := {
		"msg": sprintf("`%s` has no SLO", [service.name]),
		"document": service.id,
		"path": ["metadata", "name"],
		"hint": "for example `slo: {availability: 99.9, latency: {99: 300ms}}`",
	}
}
