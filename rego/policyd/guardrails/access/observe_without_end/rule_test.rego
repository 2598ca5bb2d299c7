package policyd.guardrails.access.observe_without_end_test

import data.policyd.guardrails.access.observe_without_end as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"mode": "observe"}}]}}
	finding.document == 1
	finding.path == ["spec", "mode"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"mode": "observe", "expires": "2027-01-01"}}]}}
}
