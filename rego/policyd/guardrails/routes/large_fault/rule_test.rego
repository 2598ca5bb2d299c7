package policyd.guardrails.routes.large_fault_test

import data.policyd.guardrails.routes.large_fault as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Route": [{"id": 1, "name": "r", "critical": true, "spec": {"rules": [{}, {"fault": {"abort": {"status": 503, "share": "50.5%"}}}]}}]}}
	finding.document == 1
	finding.path == ["spec", "rules", 1, "fault", "abort", "share"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Route": [{"id": 1, "name": "r", "critical": false, "spec": {"rules": [{"fault": {"abort": {"status": 503, "share": "50%"}, "delay": {"time": "1s", "share": "1%"}}}]}}]}}
}
