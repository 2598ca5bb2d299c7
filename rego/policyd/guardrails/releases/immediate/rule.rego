# METADATA
# title: Changes everywhere at once
# description: |
#   The strategy `immediate` gives every change to every proxy at once, and nothing is watched
#   meanwhile.
# custom:
#   code: PD2308
#   severity: warning
#   exemptible: true
package policyd.guardrails.releases.immediate

warn := {finding |
	some mesh in input.documents.Mesh
	mesh.spec.strategy == "immediate"
	finding := {
		"msg": sprintf("mesh `%s` takes every change everywhere at once", [mesh.name]),
		"document": mesh.id,
		"path": ["spec", "strategy"],
		"hint": "leave `strategy` out for one instance, a quarter, everything; or name a `RolloutStrategy`",
	}
}
