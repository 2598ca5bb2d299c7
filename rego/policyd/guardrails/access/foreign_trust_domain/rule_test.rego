package policyd.guardrails.access.foreign_trust_domain_test

import data.policyd.guardrails.access.foreign_trust_domain as rule

test_finds if {
	some finding in rule.deny with input as {"mesh": {"trustDomain": "shop.example"}, "documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "from": [{"identity": ["spiffe://shop.example/ns/a/svc/b", "spiffe://other.example/x"]}]}}]}}
	finding.document == 1
	finding.path == ["spec", "from", 0, "identity"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"mesh": {"trustDomain": "shop.example"}, "documents": {"AccessRule": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"to": "s", "from": ["web", {"identity": "spiffe://shop.example/ns/a/svc/b"}]}}]}}
}

test_one_identity_without_a_list if {
	some finding in rule.deny with input as {"mesh": {"trustDomain": "a"}, "documents": {"AccessRule": [{"id": 1, "name": "r", "spec": {"to": "s", "from": [{"identity": "spiffe://ab/x"}]}}]}}
	contains(finding.msg, "`spiffe://ab/x`")
}
