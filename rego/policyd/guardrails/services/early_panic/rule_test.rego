package policyd.guardrails.services.early_panic_test

import data.policyd.guardrails.services.early_panic as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"panicThreshold": "51%"}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "panicThreshold"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"panicThreshold": "50%"}}}]}}
}
