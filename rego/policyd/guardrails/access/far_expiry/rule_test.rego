package policyd.guardrails.access.far_expiry_test

import data.policyd.guardrails.access.far_expiry as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"AccessRule": [{"id": 1, "daysLeft": 367, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"expires": "2028-01-03"}}]}}
	finding.document == 1
	finding.path == ["spec", "expires"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "daysLeft": 366, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"expires": "2028-01-02"}}]}}
}
