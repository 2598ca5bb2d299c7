package policyd.guardrails.services.owner_test

import data.policyd.guardrails.services.owner as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"Service": [{"id": 1, "name": "s", "owner": ""}]}}
	finding.document == 1
	finding.path == ["metadata", "name"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "s", "owner": "team"}]}}
}
