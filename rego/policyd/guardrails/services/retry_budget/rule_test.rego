package policyd.guardrails.services.retry_budget_test

import data.policyd.guardrails.services.retry_budget as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"retries": {"budget": "51%"}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "retries", "budget"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"resilience": {"retries": {"budget": "50%"}}}}]}}
}
