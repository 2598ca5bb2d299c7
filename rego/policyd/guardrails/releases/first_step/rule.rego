# METADATA
# title: A canary that starts too large
# description: |
#   The first step is the one that meets the fault. It may take at most 10 per cent of the requests.
# custom:
#   code: PD2301
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.releases.first_step

deny := {finding |
	some canary in input.documents.CanarySplit
	canary.spec.steps[0] > 10
	finding := {
		"msg": sprintf("the first step of `%s` takes %v per cent of the requests of `%s`", [canary.name, canary.spec.steps[0], canary.spec.service]),
		"document": canary.id,
		"path": ["spec", "steps", 0],
		"hint": "begin with 10 per cent or less, for example `steps: [5, 25, 50, 100]`",
	}
}
