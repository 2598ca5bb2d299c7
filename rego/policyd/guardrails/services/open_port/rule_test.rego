package policyd.guardrails.services.open_port_test

import data.policyd.guardrails.services.open_port as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"healthCheck": {"tcp": {}}}}]}}
	finding.document == 1
	finding.path == ["spec", "healthCheck", "tcp"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"protocol": "tcp", "healthCheck": {"tcp": {}}}}]}}
}
