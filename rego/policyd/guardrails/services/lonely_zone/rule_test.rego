package policyd.guardrails.services.lonely_zone_test

import data.policyd.guardrails.services.lonely_zone as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"loadBalancing": {"preferZone": {"minInstances": 1}}}}}]}}
	finding.document == 1
	finding.path == ["spec", "resilience", "loadBalancing", "preferZone", "minInstances"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"Service": [{"id": 1, "name": "r", "spec": {"resilience": {"loadBalancing": {"preferZone": {"minInstances": 2}}}}}]}}
}
