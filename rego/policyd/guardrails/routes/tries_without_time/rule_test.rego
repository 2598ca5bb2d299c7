package policyd.guardrails.routes.tries_without_time_test

import data.policyd.guardrails.routes.tries_without_time as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Route": [{"id": 1, "name": "r", "namespace": "n", "target": "n/s", "critical": false, "spec": {"to": "s", "rules": [{"resilience": {"retries": {"attempts": 2}, "timeout": {"perTry": "1s", "request": "2s"}}}]}}]}}
	finding.document == 1
	finding.path == ["spec", "rules", 0, "resilience", "timeout", "perTry"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Route": [{"id": 1, "name": "r", "namespace": "n", "target": "n/s", "critical": false, "spec": {"to": "s", "rules": [{"resilience": {"retries": {"attempts": 1}, "timeout": {"perTry": "1s", "request": "2s"}}}]}}]}}
}
