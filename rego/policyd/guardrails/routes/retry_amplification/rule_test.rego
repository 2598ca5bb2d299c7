package policyd.guardrails.routes.retry_amplification_test

import data.policyd.guardrails.routes.retry_amplification as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Route": [{"id": 1, "name": "r", "namespace": "n", "target": "n/s", "critical": false, "spec": {"to": "s", "rules": [{"resilience": {"retries": {"attempts": 4}}}]}}]}}
	finding.document == 1
	finding.path == ["spec", "rules", 0, "resilience", "retries", "attempts"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Route": [{"id": 1, "name": "r", "namespace": "n", "target": "n/s", "critical": false, "spec": {"to": "s", "rules": [{"resilience": {"retries": {"attempts": 3}}}]}}]}}
}
