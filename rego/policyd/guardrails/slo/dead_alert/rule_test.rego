package policyd.guardrails.slo.dead_alert_test

import data.policyd.guardrails.slo.dead_alert as rule

test_finds if {
	some finding in rule.deny with input as {"documents": {"SLO": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"objectives": [{"target": 0.9}], "alertPolicies": [{"spec": {"conditions": [{"metadata": {"name": "fast"}, "spec": {"condition": {"threshold": 10}}}]}}]}}]}}
	finding.document == 1
	finding.path == ["spec", "alertPolicies", 0, "spec", "conditions", 0, "spec", "condition", "threshold"]
}

test_leaves_alone if {
	count(rule.deny) == 0 with input as {"documents": {"SLO": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"objectives": [{"target": 0.999}], "alertPolicies": [{"spec": {"conditions": [{"metadata": {"name": "fast"}, "spec": {"condition": {"threshold": 14.4}}}]}}]}}]}}
}

test_per_cent if {
	some finding in rule.deny with input as {"documents": {"SLO": [{"id": 1, "name": "s", "spec": {"objectives": [{"targetPercent": 90}], "alertPolicies": [{"spec": {"conditions": [{"metadata": {"name": "fast"}, "spec": {"condition": {"threshold": 14.4}}}]}}]}}]}}
	contains(finding.msg, "14.4")
}
