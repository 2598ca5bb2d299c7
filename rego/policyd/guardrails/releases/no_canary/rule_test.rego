package policyd.guardrails.releases.no_canary_test

import data.policyd.guardrails.releases.no_canary as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {}}]}}
	finding.document == 1
	finding.path == ["metadata", "name"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "s", "critical": true, "subjectOf": ["CanarySplit"]}]}}
}
