# METADATA
# title: Retries of methods that are not idempotent
# description: |
#   A `POST` that timed out may have been carried out. Sent again it is carried out twice: two orders,
#   two charges.
# related_resources:
#   - ref: https://www.rfc-editor.org/rfc/rfc9110#name-idempotent-methods
#     description: RFC 9110, idempotent methods
# custom:
#   code: PD2205
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.services.unsafe_retry

deny := {finding |
	some service in input.documents.Service
	method := service.spec.resilience.retries.methods[i]
	method in {"POST", "PATCH", "CONNECT"}
	finding := {
		"msg": sprintf("a failed `%s` to `%s` is sent again, and may then happen twice", [method, service.name]),
		"document": service.id,
		"path": ["spec", "resilience", "retries", "methods", i],
		"hint": "retry only methods that are idempotent, or make the call so and get an exception",
	}
}
