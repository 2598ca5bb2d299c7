package policyd.guardrails.releases.first_step_test

import data.policyd.guardrails.releases.first_step as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"service": "s", "steps": [11, 100]}}]}}
	finding.document == 1
	finding.path == ["spec", "steps", 0]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"service": "s", "steps": [10, 100]}}]}}
}
