package policyd.guardrails.access.wildcard_source_test

import data.policyd.guardrails.access.wildcard_source as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "from": ["web", "*"]}}]}}
	finding.document == 1
	finding.path == ["spec", "from", 1]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "from": ["web", {"namespace": "ops"}]}}]}}
}
