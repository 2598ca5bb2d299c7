# METADATA
# title: Everyone may call a service
# description: |
#   A source `*` lets every workload of the mesh call the service, so that one workload taken over is
#   enough to reach it.
# custom:
#   code: PD2101
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.access.wildcard_source

deny := {finding |
	some rule in input.documents.AccessRule
	source := rule.spec.from[i]
	source in ["*", {"anyone": true}]
	finding := {
		"msg": sprintf("`%s` lets everyone in the mesh call `%s`", [rule.name, rule.spec.to]),
		"document": rule.id,
		"path": ["spec", "from", i],
		"hint": "name the services that call it, or their namespace",
	}
}
