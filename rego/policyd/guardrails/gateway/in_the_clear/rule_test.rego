package policyd.guardrails.gateway.in_the_clear_test

import data.policyd.guardrails.gateway.in_the_clear as rule

test_finds if {
	listeners := [{"port": 443, "hosts": ["a.example"], "tls": {"certificate": "a"}}, {"port": 80, "hosts": ["a.example"], "plaintext": true}]
	some finding in rule.deny with input as {"documents": {"Gateway": [{"id": 1, "name": "g", "spec": {"listeners": listeners}}]}}
	finding.document == 1
	finding.path == ["spec", "listeners", 1, "plaintext"]
}

test_leaves_alone if {
	listeners := [{"port": 443, "hosts": ["a.example"], "tls": {"certificate": "a"}}, {"port": 80, "hosts": ["a.example"]}]
	count(rule.deny) == 0 with input as {"documents": {"Gateway": [{"id": 1, "name": "g", "spec": {"listeners": listeners}}]}}
}
