package policyd.guardrails.services.slo_test

import data.policyd.guardrails.services.slo as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {}}]}}
	finding.document == 1
	finding.path == ["metadata", "name"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"slo": {"availability": 99.9}}}]}}
}

test_an_openslo_document_counts if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "s", "subjectOf": ["SLO"], "spec": {}}]}}
}
