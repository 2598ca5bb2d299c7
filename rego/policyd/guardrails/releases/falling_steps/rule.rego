# METADATA
# title: Canary steps that do not rise
# description: |
#   Each step takes a larger share than the one before it. A step that does not rise is a typing
#   mistake.
# custom:
#   code: PD2303
#   severity: error
#   exemptible: false
package policyd.guardrails.releases.falling_steps

deny := {finding |
	some canary in input.documents.CanarySplit
	step := canary.spec.steps[i]
	i > 0
	before := canary.spec.steps[i - 1]
	step <= before
	finding := {
		"msg": sprintf("step %v of `%s` does not rise above %v", [step, canary.name, before]),
		"document": canary.id,
		"path": ["spec", "steps", i],
		"hint": "for example `steps: [5, 25, 50, 100]`",
	}
}
