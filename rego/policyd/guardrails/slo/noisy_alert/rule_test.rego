package policyd.guardrails.slo.noisy_alert_test

import data.policyd.guardrails.slo.noisy_alert as rule

test_finds if {
	some finding in rule.warn with input as {"documents": {"SLO": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"alertPolicies": [{"spec": {"conditions": [{"metadata": {"name": "fast"}, "spec": {"condition": {"threshold": 0.5}}}]}}]}}]}}
	finding.document == 1
	finding.path == ["spec", "alertPolicies", 0, "spec", "conditions", 0, "spec", "condition", "threshold"]
}

test_leaves_alone if {
	count(rule.warn) == 0 with input as {"documents": {"SLO": [{"id": 1, "subjectOf": [], "name": "r", "namespace": "n", "target": "n/s", "critical": true, "spec": {"alertPolicies": [{"spec": {"conditions": [{"metadata": {"name": "fast"}, "spec": {"condition": {"threshold": 1}}}]}}]}}]}}
}
