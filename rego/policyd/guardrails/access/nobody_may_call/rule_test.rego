package policyd.guardrails.access.nobody_may_call_test

import data.policyd.guardrails.access.nobody_may_call as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "s", "subjectOf": ["SLO"]}]}}
	finding.document == 1
	finding.path == ["metadata", "name"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "s", "subjectOf": ["AccessRule"]}]}}
}
