# METADATA
# title: Retries in a route that make an outage worse
# description: |
#   Each further try multiplies the load of a service that already fails, and again at every hop. Three
#   are enough for what retries can heal.
# related_resources:
#   - ref: https://sre.google/sre-book/addressing-cascading-failures/
#     description: Addressing cascading failures
# custom:
#   code: PD2227
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.routes.retry_amplification

deny := {finding |
	some route in input.documents.Route
	attempts := route.spec.rules[i].resilience.retries.attempts
	attempts > 3
	finding := {
		"msg": sprintf("a rule of `%s` tries a failed call up to %d more times", [route.name, attempts]),
		"document": route.id,
		"path": ["spec", "rules", i, "resilience", "retries", "attempts"],
		"hint": "at most 3 further tries; a longer outage is for failover and load shedding",
	}
}
