package policyd.guardrails.releases.promote_unproven_test

import data.policyd.guardrails.releases.promote_unproven as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"service": "s", "onInconclusive": "promote"}}]}}
	finding.document == 1
	finding.path == ["spec", "onInconclusive"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"CanarySplit": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"service": "s", "onInconclusive": "hold"}}]}}
}
