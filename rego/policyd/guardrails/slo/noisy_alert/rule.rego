# METADATA
# title: An alert that fires while all is well
# description: |
#   A burn rate below 1 is what the objective allows: such an alert fires though the promise is kept.
# related_resources:
#   - ref: https://sre.google/workbook/alerting-on-slos/
#     description: Alerting on SLOs, multiwindow, multi-burn-rate alerts
# custom:
#   code: PD2402
#   severity: warning
#   exemptible: true
package policyd.guardrails.slo.noisy_alert

warn := {finding |
	some slo in input.documents.SLO
	policy := slo.spec.alertPolicies[i]
	condition := policy.spec.conditions[j]
	factor := condition.spec.condition.threshold
	factor < 1
	finding := {
		"msg": sprintf("alert `%s` of `%s` fires at a burn rate of %v, while the objective is met", [condition.metadata.name, slo.name, factor]),
		"document": slo.id,
		"path": ["spec", "alertPolicies", i, "spec", "conditions", j, "spec", "condition", "threshold"],
		"hint": "a factor of 1 or more; 14.4, 6, 3 and 1 are usual for 30 days",
	}
}
