package policyd.guardrails.services.health_check_test

import data.policyd.guardrails.services.health_check as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {}}]}}
	finding.document == 1
	finding.path == ["metadata", "name"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"healthCheck": {"path": "/healthz"}}}]}}
}

test_tcp_has_no_path if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "s", "spec": {"protocol": "tcp"}}]}}
}
