# METADATA
# title: A canary step too short to judge
# description: |
#   A gate needs requests before it can tell a broken version from a lucky one. A step of a few seconds
#   ends before they have come.
# custom:
#   code: PD2304
#   severity: warning
#   exemptible: true
package policyd.guardrails.releases.short_hold

import data.policyd.lib.units

warn := {finding |
	some canary in input.documents.CanarySplit
	count(canary.spec.gates) > 0
	units.duration_ms(canary.spec.hold) < 30000
	finding := {
		"msg": sprintf("each step of `%s` holds for %s, too short for its gates to judge", [canary.name, canary.spec.hold]),
		"document": canary.id,
		"path": ["spec", "hold"],
		"hint": "hold for 30s or more",
	}
}
