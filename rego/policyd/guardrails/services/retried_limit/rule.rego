# METADATA
# title: Retries of what a rate limit refuses
# description: |
#   429 says that the service takes no more for now. Asking again at once takes the tokens of those who wait.
# custom:
#   code: PD2220
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.retried_limit

warn := {finding |
	some service in input.documents.Service
	count(service.spec.rateLimit) > 0
	condition := service.spec.resilience.retries.on[i]
	sprintf("%v", [condition]) == "429"
	finding := {
		"msg": sprintf("what the rate limit of `%s` refuses is asked again at once", [service.name]),
		"document": service.id,
		"path": ["spec", "resilience", "retries", "on", i],
		"hint": "leave 429 to the caller, who reads `retry-after`",
	}
}
