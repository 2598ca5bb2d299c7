package policyd.guardrails.access.every_method_test

import data.policyd.guardrails.access.every_method as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "allow": [{"methods": ["*"]}]}}]}}
	finding.document == 1
	finding.path == ["spec", "allow", 0, "methods"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "allow": [{"methods": ["GET"]}]}}]}}
}
