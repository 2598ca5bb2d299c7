# METADATA
# title: One error takes an instance away
# description: |
#   A single failed request, a restart of a database for example, leaves an instance out although it is
#   healthy. Several in a row are a pattern.
# custom:
#   code: PD2210
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.hasty_ejection

warn := {finding |
	some service in input.documents.Service
	some field in {"consecutiveErrors", "consecutiveGatewayErrors"}
	service.spec.resilience.outlierDetection[field] == 1
	finding := {
		"msg": sprintf("one failed request leaves an instance of `%s` out", [service.name]),
		"document": service.id,
		"path": ["spec", "resilience", "outlierDetection", field],
		"hint": "`consecutiveErrors: 5` is a good start",
	}
}
