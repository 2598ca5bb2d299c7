package policyd.guardrails.services.retry_amplification_test

import data.policyd.guardrails.services.retry_amplification as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"retries": {"attempts": 4}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "retries", "attempts"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"retries": {"attempts": 3}}}}]}}
}
