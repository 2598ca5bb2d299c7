package policyd.guardrails.releases.first_wave_test

import data.policyd.guardrails.releases.first_wave as rule

test_finds if {
	some finding in rule.deny with input as {"mesh": {"critical": true}, "documents": {"RolloutStrategy": [{"id": 1, "name": "r", "spec": {"waves": [{"proxies": "100%"}]}}]}}
	finding.document == 1
	finding.path == ["spec", "waves", 0, "proxies"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"mesh": {"critical": true}, "documents": {"RolloutStrategy": [{"id": 1, "name": "r", "spec": {"waves": [{"proxies": 1}, {"proxies": "100%"}]}}]}}
}

test_a_mesh_without_critical_services if {
	count(rule.deny) == 0 with input as {"mesh": {"critical": false}, "documents": {"RolloutStrategy": [{"id": 1, "name": "r", "spec": {"waves": [{"proxies": "100%"}]}}]}}
}
