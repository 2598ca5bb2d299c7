# METADATA
# title: Retries that make an outage worse
# description: |
#   Each further try multiplies the load of a service that already fails, and again at every hop. Three
#   are enough for what retries can heal.
# related_resources:
#   - ref: https://sre.google/sre-book/addressing-cascading-failures/
#     description: Addressing cascading failures
# custom:
#   code: PD2206
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.services.retry_amplification

deny := {finding |
	some service in input.documents.Service
	service.spec.resilience.retries.attempts > 3
	finding := {
		"msg": sprintf("a failed call of `%s` is tried up to %d more times", [service.name, service.spec.resilience.retries.attempts]),
		"document": service.id,
		"path": ["spec", "resilience", "retries", "attempts"],
		"hint": "at most 3 further tries; a longer outage is for failover and load shedding",
	}
}
