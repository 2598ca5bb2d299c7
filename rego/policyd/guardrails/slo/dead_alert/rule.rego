# METADATA
# title: An alert that can never fire
# description: |
#   Even when every request fails, the budget burns 1 / (1 - objective) times too fast. An alert that
#   waits for a larger factor never fires.
# related_resources:
#   - ref: https://sre.google/workbook/alerting-on-slos/
#     description: Alerting on SLOs, multiwindow, multi-burn-rate alerts
# custom:
#   code: PD2401
#   severity: error
#   exemptible: false
package policyd.guardrails.slo.dead_alert

# Both engines round differently in the last digits; no real alert is that close.
_nearly_one := 0.999999

deny := {finding |
	some slo in input.documents.SLO
	budget := _budget(slo.spec.objectives[0])
	policy := slo.spec.alertPolicies[i]
	condition := policy.spec.conditions[j]
	factor := condition.spec.condition.threshold
	factor * budget >= _nearly_one
	finding := {
		"msg": sprintf("alert `%s` of `%s` waits for a burn rate of %v, which even a full outage does not reach", [condition.metadata.name, slo.name, factor]),
		"document": slo.id,
		"path": ["spec", "alertPolicies", i, "spec", "conditions", j, "spec", "condition", "threshold"],
		"hint": "lower the factor below 1 / (1 - objective), or promise more",
	}
}

_budget(objective) := 1 - objective.target

_budget(objective) := (100 - objective.targetPercent) / 100
