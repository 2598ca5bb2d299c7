package policyd.guardrails.services.many_ejected_test

import data.policyd.guardrails.services.many_ejected as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"outlierDetection": {"maxEjected": "51%"}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "outlierDetection", "maxEjected"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"outlierDetection": {"maxEjected": "50%"}}}}]}}
}
