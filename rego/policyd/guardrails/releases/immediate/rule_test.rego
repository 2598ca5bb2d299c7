package policyd.guardrails.releases.immediate_test

import data.policyd.guardrails.releases.immediate as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Mesh": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"strategy": "immediate"}}]}}
	finding.document == 1
	finding.path == ["spec", "strategy"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Mesh": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"strategy": "careful"}}]}}
}
