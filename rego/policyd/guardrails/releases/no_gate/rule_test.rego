package policyd.guardrails.releases.no_gate_test

import data.policyd.guardrails.releases.no_gate as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"service": "s", "steps": [5]}}]}}
	finding.document == 1
	finding.path == ["spec"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"service": "s", "gates": ["s-availability"]}}]}}
}
