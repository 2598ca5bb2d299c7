package policyd.guardrails.egress.in_the_clear_test

import data.policyd.guardrails.egress.in_the_clear as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Egress": [{"id": 1, "name": "e", "spec": {"host": "a.example", "plaintext": true}}]}}
	finding.document == 1
	finding.path == ["spec", "plaintext"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Egress": [{"id": 1, "name": "e", "spec": {"host": "a.example"}}]}}
	count(rule.deny) == 0 with input as {"documents": {"Egress": [{"id": 1, "name": "e", "spec": {"host": "a.example", "plaintext": false}}]}}
}
