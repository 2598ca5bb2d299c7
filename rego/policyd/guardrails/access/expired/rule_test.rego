package policyd.guardrails.access.expired_test

import data.policyd.guardrails.access.expired as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"AccessRule": [{"id": 1, "daysLeft": 0, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"expires": "2027-01-01"}}]}}
	finding.document == 1
	finding.path == ["spec", "expires"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "daysLeft": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"expires": "2027-01-01"}}]}}
}
