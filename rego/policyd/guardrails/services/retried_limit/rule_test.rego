package policyd.guardrails.services.retried_limit_test

import data.policyd.guardrails.services.retried_limit as rule

retrying(condition) := {"resilience": {"retries": {"attempts": 1, "on": ["503", condition]}}}

limited := {"rateLimit": [{"requests": 1}]}

test_finds if {
	some condition in [429, "429"]
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": object.union(limited, retrying(condition))}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "retries", "on", 1]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": object.union(limited, retrying("503"))}]}}
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": retrying("429")}]}}
}
