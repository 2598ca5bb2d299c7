package policyd.guardrails.services.one_endpoint_test

import data.policyd.guardrails.services.one_endpoint as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"version": "v1", "versions": {"v1": {"endpoints": ["10.0.0.1"]}}}}]}}
	finding.document == 1
	finding.path == ["spec", "versions", "v1"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"version": "v1", "versions": {"v1": {"endpoints": ["10.0.0.1", "10.0.0.2"]}, "v2": {"endpoints": ["10.0.0.3"]}}}}]}}
}
