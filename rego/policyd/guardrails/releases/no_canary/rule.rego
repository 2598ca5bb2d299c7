# METADATA
# title: A critical service without a canary
# description: |
#   Without a `CanarySplit` a new version of the service gets every request at once.
# custom:
#   code: PD2307
#   severity: warning
#   exemptible: true
package policyd.guardrails.releases.no_canary

warn := {finding |
	some service in input.documents.Service
	service.critical
	not "CanarySplit" in service.subjectOf
	finding := {
		"msg": sprintf("`%s` is `tier: critical` and changes its version without a canary", [service.name]),
		"document": service.id,
		"path": ["metadata", "name"],
		"hint": "add a `CanarySplit` with `steps` and `gates`",
	}
}
