package policyd.guardrails.routes.critical_fault_test

import data.policyd.guardrails.routes.critical_fault as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Route": [{"id": 1, "name": "r", "critical": true, "labels": {"faults": "allowed"}, "spec": {"rules": [{}, {"fault": {"abort": {"status": 503, "share": "1%"}}}]}}]}}
	finding.document == 1
	finding.path == ["spec", "rules", 1, "fault"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Route": [{"id": 1, "name": "r", "critical": false, "spec": {"rules": [{"fault": {"abort": {"status": 503, "share": "1%"}}}]}}]}}
}
