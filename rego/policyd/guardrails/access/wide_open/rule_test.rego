package policyd.guardrails.access.wide_open_test

import data.policyd.guardrails.access.wide_open as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "allow": [{"methods": ["GET"], "paths": ["/v1", "/**"]}]}}]}}
	finding.document == 1
	finding.path == ["spec", "allow", 0, "paths", 1]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "allow": [{"methods": ["GET"], "paths": ["/v1/**"]}]}}]}}
}

test_other_tiers_may_be_open if {
	count(rule.deny) == 0 with input as {"documents": {"AccessRule": [{"id": 1, "critical": false, "spec": {"allow": [{"paths": ["/**"]}]}}]}}
}
