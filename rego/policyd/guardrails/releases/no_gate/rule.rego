# METADATA
# title: A canary without a gate
# description: |
#   Steps that nothing watches are a slow release, not a canary: a burning version is promoted on time.
# custom:
#   code: PD2302
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.releases.no_gate

deny := {finding |
	some canary in input.documents.CanarySplit
	count(object.get(canary.spec, "gates", [])) == 0
	finding := {
		"msg": sprintf("`%s` moves `%s` step by step and watches nothing", [canary.name, canary.spec.service]),
		"document": canary.id,
		"path": ["spec"],
		"hint": "name the SLOs that must hold: `gates: [checkout-availability]`",
	}
}
