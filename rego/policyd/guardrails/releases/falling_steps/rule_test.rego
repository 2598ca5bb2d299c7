package policyd.guardrails.releases.falling_steps_test

import data.policyd.guardrails.releases.falling_steps as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"steps": [5, 25, 25]}}]}}
	finding.document == 1
	finding.path == ["spec", "steps", 2]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"steps": [5, 25, 100]}}]}}
}
