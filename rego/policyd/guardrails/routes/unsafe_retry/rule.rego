# METADATA
# title: Retries in a route of methods that are not idempotent
# description: |
#   A `POST` that timed out may have been carried out. Sent again it is carried out twice: two orders,
#   two charges.
# related_resources:
#   - ref: https://www.rfc-editor.org/rfc/rfc9110#name-idempotent-methods
#     description: RFC 9110, idempotent methods
# custom:
#   code: PD2226
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.routes.unsafe_retry

deny := {finding |
	some route in input.documents.Route
	method := route.spec.rules[i].resilience.retries.methods[j]
	method in {"POST", "PATCH", "CONNECT"}
	finding := {
		"msg": sprintf("a rule of `%s` sends a failed `%s` again, which may then happen twice", [route.name, method]),
		"document": route.id,
		"path": ["spec", "rules", i, "resilience", "retries", "methods", j],
		"hint": "retry only methods that are idempotent, or make the call so and get an exception",
	}
}
