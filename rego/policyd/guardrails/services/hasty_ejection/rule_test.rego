package policyd.guardrails.services.hasty_ejection_test

import data.policyd.guardrails.services.hasty_ejection as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"outlierDetection": {"consecutiveErrors": 1}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "outlierDetection", "consecutiveErrors"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"outlierDetection": {"consecutiveErrors": 2, "consecutiveGatewayErrors": 5}}}}]}}
}
