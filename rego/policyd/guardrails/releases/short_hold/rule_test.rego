package policyd.guardrails.releases.short_hold_test

import data.policyd.guardrails.releases.short_hold as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"hold": "29s", "gates": ["a"]}}]}}
	finding.document == 1
	finding.path == ["spec", "hold"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"hold": "30s", "gates": ["a"]}}]}}
}
