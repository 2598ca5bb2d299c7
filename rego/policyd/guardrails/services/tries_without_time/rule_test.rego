package policyd.guardrails.services.tries_without_time_test

import data.policyd.guardrails.services.tries_without_time as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"timeout": {"request": "2s", "perTry": "900ms"}, "retries": {"attempts": 2}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "timeout", "perTry"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"timeout": {"request": "2s", "perTry": "600ms"}, "retries": {"attempts": 2}}}}]}}
}
