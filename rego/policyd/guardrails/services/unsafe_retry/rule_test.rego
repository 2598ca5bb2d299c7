package policyd.guardrails.services.unsafe_retry_test

import data.policyd.guardrails.services.unsafe_retry as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"retries": {"methods": ["GET", "POST"]}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "retries", "methods", 1]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"retries": {"methods": ["GET", "PUT"]}}}}]}}
}
